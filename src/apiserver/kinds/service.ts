// Services: virtual addresses and node ports are given out here, as the API server of a real cluster does.
import { cidrContains, formatIp, parseCidr, parseIpBytes, type Cidr } from '#/kit/index.ts';
import { causeInvalid, causeRequired, invalid, type Cause } from '../api-error.ts';
import { digList, digText, equal, isObject, type Item, type Json, type JsonObject } from '../json.ts';
import type { KindRules, ServiceAddresses } from './kind.ts';
import { portCauses } from './pod.ts';

const familyOf = (ip: string): 'IPv4' | 'IPv6' => (ip.includes(':') ? 'IPv6' : 'IPv4');

/** One range of addresses. The first is the network, the second is the API server's own by convention. */
class Pool {
  readonly range: Cidr;
  readonly family: 'IPv4' | 'IPv6';
  readonly #used = new Set<string>();
  readonly #size: number;
  #next: number;

  constructor(text: string) {
    const range = parseCidr(text);
    if (range === undefined) throw new Error(`the range of service addresses "${text}" is not a CIDR`);
    this.range = range;
    this.family = range.base.length === 4 ? 'IPv4' : 'IPv6';
    this.#size = 2 ** Math.min(20, range.base.length * 8 - range.length);
    if (this.#size < 8) throw new Error(`the range of service addresses "${text}" is too small`);
    // Low addresses are left for those who ask for one, like the DNS service (.10).
    this.#next = Math.min(256, this.#size >> 1);
  }

  contains(ip: string): boolean {
    const bytes = parseIpBytes(ip);
    return bytes !== undefined && cidrContains(this.range, bytes);
  }

  /** False if it is taken. */
  take(ip: string): boolean {
    if (this.#used.has(ip)) return false;
    this.#used.add(ip);
    return true;
  }

  release(ip: string): void {
    this.#used.delete(ip);
  }

  next(): string | undefined {
    for (let tries = 0; tries < this.#size; tries++) {
      const offset = this.#next;
      this.#next = this.#next + 1 >= this.#size - 1 ? 2 : this.#next + 1;
      const bytes = new Uint8Array(this.range.base);
      let carry = offset;
      for (let i = bytes.length - 1; i >= 0 && carry > 0; i--) {
        const sum = (bytes[i] as number) + (carry & 0xff);
        bytes[i] = sum & 0xff;
        carry = (carry >> 8) + (sum >> 8);
      }
      const ip = formatIp(bytes);
      if (this.take(ip)) return ip;
    }
    return undefined;
  }
}

const nodePortRange = { first: 30000, last: 32767 };

export class ServiceAllocator implements ServiceAddresses {
  readonly #pools: readonly Pool[];
  readonly #nodePorts = new Map<number, string>();
  #nextPort = nodePortRange.first;

  /** One range, or one of each family; the first is the default family. */
  constructor(ranges: readonly string[]) {
    this.#pools = ranges.map((range) => new Pool(range));
  }

  /** Takes what a stored Service has, when the server starts. */
  reserve(item: Item): void {
    for (const ip of digList(item.spec, 'clusterIPs')) this.#poolOf(String(ip))?.take(String(ip));
    for (const port of digList(item.spec, 'ports'))
      if (isObject(port) && typeof port['nodePort'] === 'number')
        this.#nodePorts.set(port['nodePort'], portKey(item, port));
  }

  allocate(item: Item): void {
    const spec = item.spec ?? {};
    item.spec = spec;
    const taken: string[] = [];
    try {
      this.#families(item, spec);
      this.#clusterIps(item, spec, taken);
      this.#ports(item, spec);
    } catch (error) {
      for (const ip of taken) this.#poolOf(ip)?.release(ip);
      throw error;
    }
  }

  reallocate(item: Item, old: Item): void {
    const spec = item.spec ?? {};
    const before = old.spec ?? {};
    item.spec = spec;
    const wasExternal = before['type'] === 'ExternalName';
    const isExternal = spec['type'] === 'ExternalName';
    if (!wasExternal && !isExternal) {
      // One of the two names was changed and the other left as it was read: the change is what is meant.
      const first = digText(spec, 'clusterIP');
      if (
        first !== '' &&
        first !== digText(before, 'clusterIP') &&
        equal(spec['clusterIPs'], before['clusterIPs'])
      )
        spec['clusterIPs'] = [first];
      // Left out means unchanged.
      if (digText(spec, 'clusterIP') === '' && digList(spec, 'clusterIPs').length === 0) {
        for (const key of ['clusterIP', 'clusterIPs']) if (before[key] !== undefined) spec[key] = before[key];
      }
      spec['ipFamilyPolicy'] ??= before['ipFamilyPolicy'] ?? 'SingleStack';
      const wanted = spec['ipFamilyPolicy'];
      if (wanted === before['ipFamilyPolicy'] || before['ipFamilies'] === undefined)
        spec['ipFamilies'] ??= before['ipFamilies'] ?? ['IPv4'];
    }
    const oldIps = new Set(digList(before, 'clusterIPs').map(String));
    const taken: string[] = [];
    if (!isExternal) {
      this.#families(item, spec);
      this.#clusterIps(item, spec, taken, oldIps);
    } else {
      for (const key of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']) delete spec[key];
    }
    const kept = new Set(digList(spec, 'clusterIPs').map(String));
    for (const ip of oldIps) if (!kept.has(ip)) this.#poolOf(ip)?.release(ip);
    // A port keeps its node port when the manifest does not name one.
    const previous = new Map(
      digList(before, 'ports')
        .filter(isObject)
        .map((port) => [`${digText(port, 'protocol')}/${port['port'] as number}`, port['nodePort']]),
    );
    for (const port of digList(spec, 'ports'))
      if (isObject(port) && port['nodePort'] === undefined && needsNodePort(spec)) {
        const found = previous.get(`${digText(port, 'protocol')}/${port['port'] as number}`);
        if (found !== undefined) port['nodePort'] = found;
      }
    for (const port of digList(before, 'ports')) this.#freePort(old, port);
    this.#ports(item, spec);
  }

  release(item: Item): void {
    for (const ip of digList(item.spec, 'clusterIPs')) this.#poolOf(String(ip))?.release(String(ip));
    for (const port of digList(item.spec, 'ports')) this.#freePort(item, port);
  }

  #freePort(item: Item, port: Json): void {
    if (
      isObject(port) &&
      typeof port['nodePort'] === 'number' &&
      this.#nodePorts.get(port['nodePort']) === portKey(item, port)
    )
      this.#nodePorts.delete(port['nodePort']);
  }

  #poolOf(ip: string): Pool | undefined {
    return this.#pools.find((pool) => pool.contains(ip));
  }

  #families(item: Item, spec: JsonObject): void {
    if (spec['type'] === 'ExternalName') return;
    const offered = this.#pools.map((pool) => pool.family);
    const ips = digList(spec, 'clusterIPs')
      .map(String)
      .filter((ip) => ip !== 'None' && ip !== '');
    if (ips.length === 0 && digText(spec, 'clusterIP') !== '' && digText(spec, 'clusterIP') !== 'None')
      ips.push(digText(spec, 'clusterIP'));
    let families = digList(spec, 'ipFamilies').map(String);
    const policy =
      digText(spec, 'ipFamilyPolicy') ||
      (families.length > 1 || ips.length > 1 ? 'RequireDualStack' : 'SingleStack');
    if (families.length === 0) families = ips.length > 0 ? ips.map(familyOf) : [offered[0] as string];
    for (const family of families)
      if (!offered.includes(family as 'IPv4'))
        throw invalid('', 'Service', item.metadata.name, [
          causeInvalid('spec.ipFamilies', family, 'not configured on this cluster'),
        ]);
    const both = policy === 'PreferDualStack' || policy === 'RequireDualStack';
    if (policy === 'RequireDualStack' && offered.length < 2 && !isHeadless(spec))
      throw invalid('', 'Service', item.metadata.name, [
        causeInvalid('spec.ipFamilyPolicy', policy, 'this cluster is not configured for dual-stack services'),
      ]);
    if (both) for (const family of offered) if (!families.includes(family)) families.push(family);
    if (policy === 'SingleStack') families = families.slice(0, 1);
    spec['ipFamilyPolicy'] = policy;
    spec['ipFamilies'] = families;
  }

  #clusterIps(item: Item, spec: JsonObject, taken: string[], kept: ReadonlySet<string> = new Set()): void {
    if (spec['type'] === 'ExternalName') return;
    if (isHeadless(spec)) {
      spec['clusterIP'] = 'None';
      spec['clusterIPs'] = ['None'];
      return;
    }
    const asked = digList(spec, 'clusterIPs')
      .map(String)
      .filter((ip) => ip !== '');
    const first = digText(spec, 'clusterIP');
    if (asked.length === 0 && first !== '') asked.push(first);
    const families = digList(spec, 'ipFamilies').map(String);
    const ips: string[] = [];
    families.forEach((family) => {
      const wanted = asked.find((ip) => familyOf(ip) === family);
      if (wanted === undefined) {
        const ip = this.#pools.find((pool) => pool.family === family)?.next();
        if (ip === undefined)
          throw invalid('', 'Service', item.metadata.name, [
            causeInvalid('spec.clusterIPs', [], 'failed to allocate IP: range is full'),
          ]);
        taken.push(ip);
        ips.push(ip);
        return;
      }
      if (!kept.has(wanted)) {
        const pool = this.#poolOf(wanted);
        if (pool === undefined)
          throw invalid('', 'Service', item.metadata.name, [
            causeInvalid(
              'spec.clusterIPs',
              [wanted],
              `failed to allocate IP ${wanted}: the provided IP (${wanted}) is not in the valid range`,
            ),
          ]);
        if (!pool.take(wanted))
          throw invalid('', 'Service', item.metadata.name, [
            causeInvalid(
              'spec.clusterIPs',
              [wanted],
              `failed to allocate IP ${wanted}: provided IP is already allocated`,
            ),
          ]);
        taken.push(wanted);
      }
      ips.push(wanted);
    });
    spec['clusterIP'] = ips[0] ?? '';
    spec['clusterIPs'] = ips;
  }

  #ports(item: Item, spec: JsonObject): void {
    for (const port of digList(spec, 'ports')) {
      if (!isObject(port)) continue;
      if (!needsNodePort(spec)) {
        delete port['nodePort'];
        continue;
      }
      const key = portKey(item, port);
      if (typeof port['nodePort'] === 'number') {
        const holder = this.#nodePorts.get(port['nodePort']);
        // One number may serve TCP and UDP of the same Service.
        if (holder !== undefined && holder !== key)
          throw invalid('', 'Service', item.metadata.name, [
            causeInvalid('spec.ports', port['nodePort'], 'provided port is already allocated'),
          ]);
        if (port['nodePort'] < nodePortRange.first || port['nodePort'] > nodePortRange.last)
          throw invalid('', 'Service', item.metadata.name, [
            causeInvalid(
              'spec.ports',
              port['nodePort'],
              `provided port is not in the valid range. The range of valid ports is ${nodePortRange.first}-${nodePortRange.last}`,
            ),
          ]);
        this.#nodePorts.set(port['nodePort'], key);
        continue;
      }
      for (let tries = 0; tries <= nodePortRange.last - nodePortRange.first; tries++) {
        const candidate = this.#nextPort;
        this.#nextPort = candidate >= nodePortRange.last ? nodePortRange.first : candidate + 1;
        if (this.#nodePorts.has(candidate)) continue;
        this.#nodePorts.set(candidate, key);
        port['nodePort'] = candidate;
        break;
      }
    }
  }
}

const portKey = (item: Item, port: JsonObject): string =>
  `${item.metadata.namespace ?? ''}/${item.metadata.name}/${port['port'] as number}`;

const isHeadless = (spec: JsonObject): boolean =>
  spec['clusterIP'] === 'None' || digList(spec, 'clusterIPs')[0] === 'None';

const needsNodePort = (spec: JsonObject): boolean =>
  spec['type'] === 'NodePort' ||
  (spec['type'] === 'LoadBalancer' && spec['allocateLoadBalancerNodePorts'] !== false);

export const serviceRules: KindRules = {
  nameForm: 'label1035',
  defaults(item) {
    const { spec } = item;
    if (spec === undefined) return;
    const type = spec['type'];
    for (const port of digList(spec, 'ports'))
      if (
        isObject(port) &&
        (port['targetPort'] === undefined || port['targetPort'] === 0 || port['targetPort'] === '')
      )
        port['targetPort'] = port['port'] as Json;
    if (type === 'NodePort' || type === 'LoadBalancer') {
      spec['externalTrafficPolicy'] ??= 'Cluster';
      if (type === 'LoadBalancer') spec['allocateLoadBalancerNodePorts'] ??= true;
    }
    if (type !== 'ExternalName') spec['internalTrafficPolicy'] ??= 'Cluster';
  },
  create(item, context) {
    context.serviceAddresses.allocate(item);
    item.status = { loadBalancer: {} };
  },
  update(item, old, context) {
    context.serviceAddresses.reallocate(item, old);
  },
  removed(item, context) {
    context.serviceAddresses.release(item);
  },
  validate(item, old) {
    const causes: Cause[] = [];
    const spec = item.spec ?? {};
    const ports = digList(spec, 'ports');
    const external = spec['type'] === 'ExternalName';
    if (!['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'].includes(String(spec['type'])))
      causes.push({
        reason: 'FieldValueNotSupported',
        message: `Unsupported value: ${JSON.stringify(spec['type'])}: supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"`,
        field: 'spec.type',
      });
    if (external && digText(spec, 'externalName') === '') causes.push(causeRequired('spec.externalName'));
    if (ports.length === 0 && !external && spec['clusterIP'] !== 'None')
      causes.push(causeRequired('spec.ports'));
    const names = new Set<string>();
    ports.forEach((port, i) => {
      if (!isObject(port)) return;
      causes.push(...portCauses(port['port'], `spec.ports[${i}].port`));
      if (typeof port['targetPort'] === 'number')
        causes.push(...portCauses(port['targetPort'], `spec.ports[${i}].targetPort`));
      const name = digText(port, 'name');
      if (name === '' && ports.length > 1) causes.push(causeRequired(`spec.ports[${i}].name`));
      if (name !== '' && names.has(name))
        causes.push({
          reason: 'FieldValueDuplicate',
          message: `Duplicate value: "${name}"`,
          field: `spec.ports[${i}].name`,
        });
      names.add(name);
    });
    const before = digText(old?.spec, 'clusterIP');
    if (
      old !== undefined &&
      old.spec?.['type'] !== 'ExternalName' &&
      !external &&
      before !== '' &&
      before !== digText(spec, 'clusterIP')
    )
      causes.push(causeInvalid('spec.clusterIPs[0]', digList(spec, 'clusterIPs'), 'may not change once set'));
    return causes;
  },
  selectable: (item) => ({
    'spec.clusterIP': digText(item, 'spec', 'clusterIP'),
    'spec.type': digText(item, 'spec', 'type'),
  }),
  selectablePaths: ['spec.clusterIP', 'spec.type'],
};

// The message from the plugin to the agent, POST /cmdadd on the plugin event socket: the JSON that Go makes of
// upstream's struct, so that either side may be upstream's. No imports: the plugin is started once per pod.

export interface PluginIp {
  /** Index into the CNI result's interfaces. */
  readonly Interface: number | null;
  /** A net.IPNet: the mask is base64 of 4 or 16 bytes. */
  readonly Address: { readonly IP: string; readonly Mask: string };
  /** Empty if there is none. */
  readonly Gateway: string;
}

export interface PluginAddEvent {
  /** Path of the pod's network namespace. */
  readonly Netns: string;
  readonly PodName: string;
  readonly PodNamespace: string;
  readonly IPs: readonly PluginIp[];
}

export const addEventPath = '/cmdadd';
export const logPath = '/log';
export const pluginEventSocket = 'pluginevent.sock';
export const logSocket = 'log.sock';
/** The longest body that the agent reads. */
export const maxEventBytes = 64 * 1024;

/** An entry of a CNI result's `ips`. */
export interface CniIp {
  readonly address?: string;
  readonly gateway?: string;
  readonly interface?: number;
}

/** From the `ips` of a CNI result. Throws, naming the entry, if an address has no valid prefix length. */
export function pluginIps(ips: readonly CniIp[]): PluginIp[] {
  return ips.map((ip, i) => {
    const [address = '', length = ''] = (ip.address ?? '').split('/');
    const bits = address.includes(':') ? 128 : 32;
    if (address === '' || !/^[0-9]{1,3}$/.test(length) || Number(length) > bits)
      throw new TypeError(
        `ips[${i}].address ${JSON.stringify(ip.address)} is not an address with a prefix length`,
      );
    return {
      Interface: ip.interface ?? null,
      Address: { IP: address, Mask: maskOf(Number(length), bits / 8) },
      Gateway: ip.gateway ?? '',
    };
  });
}

function maskOf(length: number, size: number): string {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) {
    const keep = Math.min(8, Math.max(0, length - 8 * i));
    bytes[i] = (0xff << (8 - keep)) & 0xff;
  }
  return bytes.toString('base64');
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Throws, naming the field, unless the text is an event. Unknown fields are let pass, as Go does. */
export function parseAddEvent(text: string): PluginAddEvent {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new TypeError(`the body is not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (!isRecord(value)) throw new TypeError('the body is not a JSON object');
  const record = value;
  const field = (name: string): string => {
    const found = record[name];
    if (typeof found !== 'string' || found === '') throw new TypeError(`${name} is not a non-empty string`);
    if (found.length > 4096) throw new TypeError(`${name} is longer than 4096 characters`);
    return found;
  };
  const ips = record['IPs'] ?? [];
  if (!Array.isArray(ips)) throw new TypeError('IPs is not a list');
  if (ips.length > 64) throw new TypeError(`IPs has ${ips.length} entries, more than 64`);
  return {
    Netns: field('Netns'),
    PodName: field('PodName'),
    PodNamespace: field('PodNamespace'),
    IPs: ips.map((ip: unknown, i) => {
      const address = isRecord(ip) ? ip['Address'] : undefined;
      if (!isRecord(ip) || !isRecord(address) || typeof address['IP'] !== 'string')
        throw new TypeError(`IPs[${i}].Address.IP is not a string`);
      return {
        Interface: typeof ip['Interface'] === 'number' ? ip['Interface'] : null,
        Address: { IP: address['IP'], Mask: typeof address['Mask'] === 'string' ? address['Mask'] : '' },
        Gateway: typeof ip['Gateway'] === 'string' ? ip['Gateway'] : '',
      };
    }),
  };
}

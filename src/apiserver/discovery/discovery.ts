// What is served: the group lists of old clients, and the aggregated documents that newer ones read at once.
import { createHash } from 'node:crypto';
import { notFound, noSuchPath } from '../api-error.ts';
import { send, sendValue, type Call } from '../serving/call.ts';
import { parseAccept } from '../serving/media.ts';
import type { Kind } from '../kinds/kind.ts';
import type { Registry } from '../kinds/registry.ts';

/** The Kubernetes version whose API this is. */
export const serverVersion = {
  major: '1',
  minor: '36',
  gitVersion: 'v1.36.0+aura',
  gitCommit: '0000000000000000000000000000000000000000',
  gitTreeState: 'clean',
  buildDate: '2026-01-01T00:00:00Z',
  goVersion: 'none',
  compiler: 'none',
  platform: 'linux/amd64',
};

/** Groups that have to stand first, as in every cluster. */
const groupOrder = [
  '',
  'apiregistration.k8s.io',
  'apps',
  'events.k8s.io',
  'authentication.k8s.io',
  'authorization.k8s.io',
  'autoscaling',
  'batch',
  'certificates.k8s.io',
  'networking.k8s.io',
  'policy',
  'rbac.authorization.k8s.io',
  'storage.k8s.io',
  'admissionregistration.k8s.io',
  'apiextensions.k8s.io',
  'scheduling.k8s.io',
  'coordination.k8s.io',
  'node.k8s.io',
  'discovery.k8s.io',
];

interface SubresourceFacts {
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly string[];
}

/** The kind and verbs of a subresource, as discovery lists them. */
function subresource(kind: Kind, name: string): SubresourceFacts {
  switch (name) {
    case 'scale':
      return { kind: 'Scale', group: 'autoscaling', version: 'v1', verbs: ['get', 'patch', 'update'] };
    case 'binding':
      return { kind: 'Binding', verbs: ['create'] };
    case 'eviction':
      return { kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] };
    case 'token':
      return { kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'] };
    case 'log':
      return { kind: kind.kind, verbs: ['get'] };
    case 'exec':
      return { kind: 'PodExecOptions', verbs: ['create', 'get'] };
    case 'attach':
      return { kind: 'PodAttachOptions', verbs: ['create', 'get'] };
    case 'portforward':
      return { kind: 'PodPortForwardOptions', verbs: ['create', 'get'] };
    case 'proxy':
      return { kind: `${kind.kind}ProxyOptions`, verbs: ['create', 'delete', 'get', 'patch', 'update'] };
    case 'finalize':
      return { kind: kind.kind, verbs: ['update'] };
    default:
      return { kind: kind.kind, verbs: ['get', 'patch', 'update'] };
  }
}

/** What is listed in discovery but not served would confuse more than its absence. */
const shown = (name: string): boolean => name !== 'proxy';

export class Discovery {
  readonly #registry: Registry;
  readonly #address: () => string;
  readonly #cache = new Map<string, { revision: number; text: string; etag: string }>();

  constructor(registry: Registry, address: () => string) {
    this.#registry = registry;
    this.#address = address;
  }

  handle(call: Call, parts: readonly string[]): void {
    const [root, group, version] = parts;
    if (root === 'version' && parts.length === 1) {
      sendValue(call.response, 200, serverVersion);
      return;
    }
    if (root === 'api' && parts.length === 1) {
      this.#root(call, true);
      return;
    }
    if (root === 'apis' && parts.length === 1) {
      this.#root(call, false);
      return;
    }
    if (root === 'api' && parts.length === 2 && group === 'v1') {
      this.#sendCached(call, 'v1', () => this.#resources('v1'));
      return;
    }
    if (root === 'apis' && parts.length === 2 && group !== undefined) {
      const versions = this.#registry.groups().get(group);
      if (versions === undefined || group === '') throw noSuchPath();
      sendValue(call.response, 200, { kind: 'APIGroup', apiVersion: 'v1', ...this.#group(group, versions) });
      return;
    }
    if (root === 'apis' && parts.length === 3 && group !== undefined && version !== undefined) {
      const apiVersion = `${group}/${version}`;
      if (!this.#registry.hasVersion(group, version)) throw noSuchPath();
      this.#sendCached(call, apiVersion, () => this.#resources(apiVersion));
      return;
    }
    throw notFound({ group: '', plural: 'paths' }, call.path);
  }

  #sorted(): [string, string[]][] {
    const rank = (group: string): number => {
      const at = groupOrder.indexOf(group);
      return at < 0 ? groupOrder.length : at;
    };
    return [...this.#registry.groups()].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
  }

  #root(call: Call, core: boolean): void {
    for (const { type, parameters } of parseAccept(call.request.headers.accept)) {
      if (type !== 'application/json' && type !== '*/*') continue;
      if (parameters['as'] === 'APIGroupDiscoveryList' && parameters['g'] === 'apidiscovery.k8s.io') {
        const version = parameters['v'];
        if (version !== 'v2' && version !== 'v2beta1') continue;
        this.#sendCached(
          call,
          `aggregated ${core ? 'api' : 'apis'} ${version}`,
          () => this.#aggregated(core, version),
          `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
        );
        return;
      }
      break;
    }
    if (core) {
      sendValue(call.response, 200, {
        kind: 'APIVersions',
        versions: ['v1'],
        serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: this.#address() }],
      });
      return;
    }
    sendValue(call.response, 200, {
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: this.#sorted()
        .filter(([group]) => group !== '')
        .map(([group, versions]) => this.#group(group, versions)),
    });
  }

  #group(name: string, versions: readonly string[]): Record<string, unknown> {
    const entries = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
    return { name, versions: entries, preferredVersion: entries[0] };
  }

  #resources(apiVersion: string): unknown {
    const resources: unknown[] = [];
    for (const kind of this.#registry.inVersion(apiVersion)) {
      resources.push({
        name: kind.plural,
        singularName: kind.singular,
        namespaced: kind.namespaced,
        kind: kind.kind,
        verbs: kind.verbs,
        ...(kind.shortNames.length === 0 ? {} : { shortNames: kind.shortNames }),
        ...(kind.categories.length === 0 ? {} : { categories: kind.categories }),
        ...(kind.verbs.length > 1
          ? { storageVersionHash: hash(`${kind.collection} ${kind.storageApiVersion}`).slice(0, 12) }
          : {}),
      });
      for (const name of [...kind.subresources].filter(shown)) {
        const facts = subresource(kind, name);
        resources.push({
          name: `${kind.plural}/${name}`,
          singularName: '',
          namespaced: kind.namespaced,
          ...(facts.group === undefined ? {} : { group: facts.group, version: facts.version }),
          kind: facts.kind,
          verbs: facts.verbs,
        });
      }
    }
    resources.sort((a, b) => ((a as { name: string }).name < (b as { name: string }).name ? -1 : 1));
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersion, resources };
  }

  #aggregated(core: boolean, version: string): unknown {
    const items = this.#sorted()
      .filter(([group]) => (group === '') === core)
      .map(([group, versions]) => ({
        metadata: { ...(group === '' ? {} : { name: group }), creationTimestamp: null },
        versions: versions.map((each) => ({
          version: each,
          freshness: 'Current',
          resources: this.#registry.inVersion(group === '' ? each : `${group}/${each}`).map((kind) => ({
            resource: kind.plural,
            responseKind: { group: kind.group, version: kind.version, kind: kind.kind },
            scope: kind.namespaced ? 'Namespaced' : 'Cluster',
            singularResource: kind.singular,
            verbs: kind.verbs,
            ...(kind.shortNames.length === 0 ? {} : { shortNames: kind.shortNames }),
            ...(kind.categories.length === 0 ? {} : { categories: kind.categories }),
            ...(kind.subresources.size === 0
              ? {}
              : {
                  subresources: [...kind.subresources].filter(shown).map((name) => {
                    const facts = subresource(kind, name);
                    return {
                      subresource: name,
                      responseKind: {
                        group: facts.group ?? kind.group,
                        version: facts.version ?? kind.version,
                        kind: facts.kind,
                      },
                      verbs: facts.verbs,
                    };
                  }),
                }),
          })),
        })),
      }));
    return {
      kind: 'APIGroupDiscoveryList',
      apiVersion: `apidiscovery.k8s.io/${version}`,
      metadata: {},
      items,
    };
  }

  #sendCached(call: Call, key: string, make: () => unknown, type = 'application/json'): void {
    const { revision } = this.#registry;
    let entry = this.#cache.get(key);
    if (entry?.revision !== revision) {
      const text = `${JSON.stringify(make())}\n`;
      entry = { revision, text, etag: `"${hash(text)}"` };
      // The versions that CRDs had in the past must not pile up.
      if (this.#cache.size > 500) this.#cache.clear();
      this.#cache.set(key, entry);
    }
    const { response, request } = call;
    response.setHeader('etag', entry.etag);
    response.setHeader('vary', 'Accept');
    if (request.headers['if-none-match'] === entry.etag) {
      response.writeHead(304);
      response.end();
      return;
    }
    send(response, 200, entry.text, type);
  }
}

const hash = (text: string): string => createHash('sha256').update(text).digest('hex').toUpperCase();

// For tests: the agent's view of the Kubernetes API, held in memory. What the agent writes comes back as an update,
// as it would from a watch.
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { KubeError, type KubeEvent, type Namespace, type Pod } from '#/kube/index.ts';
import type { KubeSide } from './agent.ts';

type Handlers<T> = { add: (o: T) => void; update: (o: T, old: T) => void; delete: (o: T) => void };

class Source<T extends Pod | Namespace> {
  readonly objects = new Map<string, T>();
  handlers: { add: Handlers<T>['add'][]; update: Handlers<T>['update'][]; delete: Handlers<T>['delete'][] } =
    { add: [], update: [], delete: [] };
  synced = Promise.resolve();

  on<K extends keyof Handlers<T>>(event: K, handler: Handlers<T>[K]): () => void {
    (this.handlers[event] as Handlers<T>[K][]).push(handler);
    return () => {};
  }
  get(namespace: string | undefined, name: string): T | undefined {
    return this.objects.get(namespace === undefined ? name : `${namespace}/${name}`);
  }
  list(): T[] {
    return [...this.objects.values()];
  }
  start(): void {
    for (const object of this.list()) for (const handler of this.handlers.add) handler(object);
  }
  put(object: T): void {
    const { namespace, name } = object.metadata;
    const key = namespace === undefined ? name : `${namespace}/${name}`;
    const old = this.objects.get(key);
    this.objects.set(key, object);
    if (old === undefined) for (const handler of this.handlers.add) handler(object);
    else for (const handler of this.handlers.update) handler(object, old);
  }
  remove(namespace: string | undefined, name: string): void {
    const key = namespace === undefined ? name : `${namespace}/${name}`;
    const old = this.objects.get(key);
    this.objects.delete(key);
    if (old !== undefined) for (const handler of this.handlers.delete) handler(old);
  }
}

export class TestCluster {
  readonly pods = new Source<Pod>();
  readonly namespaces = new Source<Namespace>();
  readonly events: KubeEvent[] = [];
  /** What a read of the agent's DaemonSet throws or gives. */
  daemonSet: () => object = () => {
    throw new KubeError(404, 'NotFound', 'no such DaemonSet');
  };
  /** Set: every write fails with it. */
  broken: Error | undefined;

  namespace(name: string, labels: Record<string, string> = {}): void {
    this.namespaces.put({ metadata: { name, labels } });
  }

  pod(
    namespace: string,
    name: string,
    more: Partial<Pod['metadata']> & { ips?: string[] } = {},
    spec: object = {},
  ): Pod {
    const { ips = [], ...metadata } = more;
    const pod: Pod = {
      metadata: { namespace, name, uid: uidOf(name), labels: {}, annotations: {}, ...metadata },
      spec: { containers: [], serviceAccountName: `${name}-sa`, nodeName: 'n1', ...spec },
      status: { phase: 'Running', podIPs: ips.map((ip) => ({ ip })) },
    };
    this.pods.put(pod);
    return pod;
  }

  change(namespace: string, name: string, change: (pod: Pod) => Pod): void {
    const pod = this.pods.get(namespace, name);
    if (pod !== undefined) this.pods.put(change(structuredClone(pod)));
  }

  redirection(namespace: string, name: string): string | undefined {
    return this.pods.get(namespace, name)?.metadata.annotations?.['ambient.istio.io/redirection'];
  }

  /** A fresh watch of the same objects, as a restarted agent has. */
  side(): KubeSide {
    this.pods.handlers = { add: [], update: [], delete: [] };
    this.namespaces.handlers = { add: [], update: [], delete: [] };
    return {
      pods: this.pods,
      namespaces: this.namespaces,
      api: {
        patch: async (_resource: unknown, namespace: string, name: string, body: unknown) => {
          if (this.broken !== undefined) throw this.broken;
          const pod = this.pods.get(namespace, name);
          if (pod === undefined) throw new KubeError(404, 'NotFound', 'no such pod');
          const wanted = (body as { metadata: { annotations: Record<string, string | null> } }).metadata;
          const annotations = { ...pod.metadata.annotations, ...wanted.annotations };
          const kept = Object.entries(annotations).filter(([, value]) => value !== null);
          this.pods.put({
            ...pod,
            metadata: { ...pod.metadata, annotations: Object.fromEntries(kept) as Record<string, string> },
          });
          return pod;
        },
        create: async (_resource: unknown, _namespace: string, body: unknown) => {
          this.events.push(body as KubeEvent);
          return body;
        },
        get: async (resource: { plural: string }) =>
          resource.plural === 'daemonsets' ? this.daemonSet() : { metadata: { name: 'n1', labels: {} } },
      } as unknown as KubeSide['api'],
    };
  }

  /** The same objects over HTTP, for the plugin. Gives the server's address. */
  async serve(t: TestContext): Promise<string> {
    const server = createServer((request, response) => {
      const [, , , , namespace = '', , name] = (request.url ?? '').split('/');
      const found =
        name === undefined ? this.namespaces.get(undefined, namespace) : this.pods.get(namespace, name);
      response.writeHead(found === undefined ? 404 : 200).end(JSON.stringify(found ?? { message: 'none' }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
}

/** A UID that is the same for the same name. */
export function uidOf(name: string): string {
  const hex = Buffer.from(name.padEnd(16, '_')).toString('hex').slice(0, 32);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

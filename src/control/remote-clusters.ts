// The other clusters of the mesh, by Secrets with the label istio/multiCluster=true: each of their keys is a cluster's
// id, and its value the kubeconfig with which to read it.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { Informer, KubeClient, parseKubeconfig, secrets, type Secret } from '#/kube/index.ts';
import type { MeshSettings } from '#/translate/index.ts';
import type { MergedMesh } from './merged-mesh.ts';
import { RemoteCluster, remoteTimeoutMs, type ClusterStatus } from './remote-cluster.ts';

export interface RemoteClustersOptions {
  readonly client: KubeClient;
  /** Where the Secrets are. */
  readonly namespace: string;
  readonly settings: MeshSettings;
  readonly mesh: MergedMesh;
  readonly log: Logger;
  readonly clock?: Clock;
  /** How long the start waits for clusters that are known. Default 30 s, as upstream. */
  readonly timeoutMs?: number;
  /** See RemoteClusterOptions. */
  readonly probeMs?: number;
}

interface Member {
  readonly secret: string;
  /** The kubeconfig as it stands in the Secret. */
  readonly config: string;
  readonly cluster: RemoteCluster;
  /** The one that it takes the place of, until it has been read itself. */
  before: RemoteCluster | undefined;
}

/** More would be a mistake, or somebody's attempt to have us open connections. */
const maxClusters = 200;

export class RemoteClusters implements Disposable {
  readonly #options: RemoteClustersOptions;
  readonly #clock: Clock;
  readonly #members = new Map<string, Member>();
  #settings: MeshSettings;

  constructor(options: RemoteClustersOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#settings = options.settings;
  }

  /** Resolves when the clusters that are known at the start have been read, or their time is up. */
  async start(signal: AbortSignal): Promise<void> {
    const { client, namespace, mesh, log, timeoutMs = remoteTimeoutMs } = this.#options;
    const informer = new Informer(client, secrets, {
      namespace,
      labelSelector: 'istio/multiCluster=true',
      log,
      clock: this.#clock,
    });
    informer.on('add', (secret) => this.#put(secret));
    informer.on('update', (secret) => this.#put(secret));
    informer.on('delete', ({ metadata }) => this.#drop(`${metadata.namespace}/${metadata.name}`, {}));
    informer.start(signal);
    const end = this.#clock.now() + timeoutMs;
    await informer.synced;
    while (this.#clock.now() < end && [...this.#members.values()].some(({ cluster }) => !cluster.synced))
      await this.#clock.sleep(Math.min(100, timeoutMs), signal);
    for (const { cluster, secret } of this.#members.values())
      if (!cluster.synced)
        log.error('a remote cluster could not be read in time, serving without it', {
          cluster: cluster.id,
          secret,
        });
    await mesh.settled();
  }

  reconfigure(settings: MeshSettings): void {
    this.#settings = settings;
    for (const { cluster, before } of this.#members.values()) {
      cluster.reconfigure(settings);
      before?.reconfigure(settings);
    }
  }

  status(): readonly ClusterStatus[] {
    return [...this.#members.values()].map(({ cluster }) => cluster.status());
  }

  [Symbol.dispose](): void {
    for (const { cluster, before } of this.#members.values()) {
      cluster[Symbol.dispose]();
      before?.[Symbol.dispose]();
    }
    this.#members.clear();
  }

  #put(secret: Secret): void {
    const name = `${secret.metadata.namespace}/${secret.metadata.name}`;
    const data = secret.data ?? {};
    this.#drop(name, data);
    for (const [id, config] of Object.entries(data)) {
      try {
        this.#join(id, name, config);
      } catch (error) {
        this.#options.log.error(
          `Secret ${name}, key ${id}: ${errorText(error)}; the cluster is not read by it`,
        );
      }
    }
  }

  #join(id: string, secret: string, config: string): void {
    const { mesh, log, settings, probeMs } = this.#options;
    const known = this.#members.get(id);
    if (known?.config === config && known.secret === secret) return;
    if (id === settings.clusterId) throw new Error('this is the id of the cluster that we are in');
    if (known !== undefined && known.secret !== secret)
      throw new Error(`the cluster is known by Secret ${known.secret} already`);
    if (known === undefined && this.#members.size >= maxClusters)
      throw new Error(`there are ${maxClusters} clusters already`);
    const text = Buffer.from(config, 'base64').toString('utf8');
    const client = KubeClient.fromConfig(parseKubeconfig(text, `of ${secret}`), 'aura-control-plane');
    const member: Member = {
      secret,
      config,
      cluster: new RemoteCluster({
        id,
        secret,
        client,
        settings: this.#settings,
        mesh,
        log,
        clock: this.#clock,
        ...(probeMs === undefined ? {} : { probeMs }),
        onSynced: () => {
          member.before?.[Symbol.dispose]();
          member.before = undefined;
        },
      }),
      // A credential that does not work must not take away what the last one that did has brought.
      before: known?.cluster.synced === true ? known.cluster : known?.before,
    };
    if (known !== undefined && known.cluster !== member.before) known.cluster[Symbol.dispose]();
    this.#members.set(id, member);
    log.info('a remote cluster is read', { cluster: id, secret, server: client.server });
  }

  /** Lets go of the clusters of a Secret that are not in `data`. */
  #drop(secret: string, data: Readonly<Record<string, string>>): void {
    for (const [id, member] of this.#members) {
      if (member.secret !== secret || Object.hasOwn(data, id)) continue;
      member.cluster[Symbol.dispose]();
      member.before?.[Symbol.dispose]();
      this.#members.delete(id);
      this.#options.mesh.merge.leave(id);
      this.#options.mesh.touch();
      this.#options.log.info('a remote cluster has left', { cluster: id, secret });
    }
  }
}

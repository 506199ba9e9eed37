// One other cluster of the mesh: what is read of it, and whether it answers. When it does not, what it said last stays
// in force, and nobody else is kept waiting.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { KubeError, type KubeClient } from '#/kube/index.ts';
import type { Kind, MeshSettings } from '#/translate/index.ts';
import type { MergedMesh } from './merged-mesh.ts';
import { MeshWatch } from './mesh-watch.ts';

/** A line of `/debug/clusterz`, as istioctl reads it, and ours: whether it answers now. */
export interface ClusterStatus {
  readonly id: string;
  /** `ns/name`; empty for our own cluster. */
  readonly secretName: string;
  readonly syncStatus: 'synced' | 'syncing' | 'timeout';
  readonly answers: boolean;
  /** Why it does not answer. */
  readonly error?: string;
}

export interface RemoteClusterOptions {
  readonly id: string;
  readonly secret: string;
  readonly client: KubeClient;
  /** Of our own cluster. */
  readonly settings: MeshSettings;
  readonly mesh: MergedMesh;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Milliseconds between two questions whether it answers. Default 5 s. */
  readonly probeMs?: number;
  /** Its objects are in force now. */
  readonly onSynced: () => void;
}

/** What other clusters tell. Policies and entries are each cluster's own, as upstream has it. */
const kinds: readonly Kind[] = [
  'Namespace',
  'Node',
  'Service',
  'Pod',
  'EndpointSlice',
  'GatewayClass',
  'Gateway',
];

/** Milliseconds until a cluster that has not been read yet counts as one that may never be. */
export const remoteTimeoutMs = 30_000;

export class RemoteCluster implements Disposable {
  readonly id: string;
  readonly secret: string;
  readonly #options: RemoteClusterOptions;
  readonly #clock: Clock;
  readonly #watch: MeshWatch;
  readonly #stop = new AbortController();
  readonly #started: number;
  #synced = false;
  #error: string | undefined;

  constructor(options: RemoteClusterOptions) {
    const { id, secret, client, mesh, log } = options;
    this.id = id;
    this.secret = secret;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#started = this.#clock.now();
    const { sink, activate } = mesh.merge.join(id);
    this.#watch = new MeshWatch({
      client,
      settings: this.#settingsOf(options.settings),
      log: quiet(log),
      clock: this.#clock,
      kinds,
      sink: {
        ...sink,
        commit: () => {
          mesh.touch();
          return 0;
        },
      },
    });
    const { signal } = this.#stop;
    this.#watch.synced.then(
      () => {
        if (signal.aborted) return;
        this.#synced = true;
        log.info('a remote cluster has been read', { cluster: id, secret, services: this.services });
        activate();
        mesh.touch();
        options.onSynced();
      },
      () => {},
    );
    this.#watch.start(signal);
    void this.#probe(signal);
  }

  get synced(): boolean {
    return this.#synced;
  }

  get services(): number {
    return this.#watch.index.count('Service');
  }

  reconfigure(settings: MeshSettings): void {
    this.#watch.reconfigure(this.#settingsOf(settings));
  }

  status(): ClusterStatus {
    const waited = this.#clock.now() - this.#started;
    return {
      id: this.id,
      secretName: this.secret,
      syncStatus: this.#synced ? 'synced' : waited < remoteTimeoutMs ? 'syncing' : 'timeout',
      answers: this.#error === undefined,
      ...(this.#error === undefined ? {} : { error: this.#error }),
    };
  }

  /** Stops to follow it. What it said stays in the merge until that is told to let it go. */
  [Symbol.dispose](): void {
    this.#stop.abort(new Error('the cluster has been removed'));
    this.#options.client.close();
  }

  #settingsOf(settings: MeshSettings): MeshSettings {
    return { ...settings, clusterId: this.id, remoteCluster: true };
  }

  /** A watch that is silent may be one that nobody is behind any more: ask. */
  async #probe(signal: AbortSignal): Promise<void> {
    const { client, log, probeMs = 5000 } = this.#options;
    while (!signal.aborted) {
      let error: string | undefined;
      try {
        await client.request('GET', '/version', undefined, { signal });
      } catch (caught) {
        // Whatever it says: it answers. That it lets us read shows in whether we are synced.
        if (!(caught instanceof KubeError) || caught.code >= 500) error = errorText(caught);
      }
      if (signal.aborted) return;
      const fields = { cluster: this.id, secret: this.secret };
      if (error !== undefined && this.#error === undefined)
        log.warn(`a remote cluster does not answer, its last state stays in force: ${error}`, fields);
      if (error === undefined && this.#error !== undefined)
        log.info('a remote cluster answers again', fields);
      this.#error = error;
      await this.#clock.sleep(probeMs, signal).catch(() => {});
    }
  }
}

/** Seven watches that each tell every five seconds that nobody answers would bury what matters. */
function quiet(log: Logger): Logger {
  return {
    log: (level, message, fields) => log.log(level === 'trace' ? 'trace' : 'debug', message, fields),
    debug: (message, fields) => log.debug(message, fields),
    info: (message, fields) => log.debug(message, fields),
    warn: (message, fields) => log.debug(message, fields),
    error: (message, fields) => log.error(message, fields),
    scope: (scope) => quiet(log.scope(scope)),
  };
}

// The mesh's roots as a ClusterTrustBundle, which pods take as a volume: one object for the cluster instead of a
// ConfigMap per namespace. Written by the leader, and put right again when somebody has changed or deleted it.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { defineResource, isNotFound, type KubeClient, type KubeObject, type Resource } from '#/kube/index.ts';

export const trustBundleName = 'istio.io:istiod-ca:root-cert';

const signerName = 'istio.io/istiod-ca';

interface ClusterTrustBundle extends KubeObject {
  readonly spec?: { readonly signerName?: string; readonly trustBundle?: string };
}

/** By age of the API server: it has one of these, or none. */
const versions: readonly Resource<ClusterTrustBundle>[] = ['v1beta1', 'v1alpha1'].map((version) =>
  defineResource<ClusterTrustBundle>(
    `certificates.k8s.io/${version}`,
    'clustertrustbundles',
    'ClusterTrustBundle',
    'cluster',
  ),
);

export interface TrustBundleOptions {
  readonly client: KubeClient;
  readonly rootsPem: () => string | undefined;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Milliseconds between two looks at what is there. Default one minute. */
  readonly lookMs?: number;
}

export class TrustBundle {
  readonly #options: TrustBundleOptions;
  readonly #clock: Clock;
  #wake = Promise.withResolvers<void>();
  #failure: string | undefined;

  constructor(options: TrustBundleOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** The roots have changed. */
  refresh(): void {
    this.#wake.resolve();
  }

  /** Writes while the signal holds. */
  lead(signal: AbortSignal): void {
    void this.#run(signal);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log, lookMs = 60_000 } = this.#options;
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers();
      try {
        await this.#reconcile(signal);
        this.#failure = undefined;
      } catch (error) {
        const text = errorText(error);
        if (!signal.aborted && text !== this.#failure)
          log.error(`ClusterTrustBundle ${trustBundleName} was not written: ${text}`);
        this.#failure = text;
      }
      await Promise.race([this.#clock.sleep(lookMs, signal).catch(() => {}), this.#wake.promise]);
    }
  }

  async #reconcile(signal: AbortSignal): Promise<void> {
    const { client, rootsPem, log } = this.#options;
    const trustBundle = rootsPem();
    if (trustBundle === undefined) return;
    for (const resource of versions) {
      const found = await client.find(resource, undefined, trustBundleName, { signal });
      if (found?.spec?.trustBundle === trustBundle) return;
      const body = { metadata: { name: trustBundleName }, spec: { signerName, trustBundle } };
      try {
        if (found === undefined) await client.create(resource, undefined, body, { signal });
        else await client.patch(resource, undefined, trustBundleName, body, 'merge', { signal });
      } catch (error) {
        // The server does not have the kind in this version.
        if (isNotFound(error)) continue;
        throw error;
      }
      log.info('wrote the roots', { clusterTrustBundle: trustBundleName });
      return;
    }
    throw new Error(
      'the API server does not serve the kind; unset ENABLE_CLUSTER_TRUST_BUNDLE_API or enable it there',
    );
  }
}

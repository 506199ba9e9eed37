// Reads the mesh's ConfigMap at start, waiting for the API if need be, and follows it.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { configMaps, Informer, type ConfigMap, type KubeClient } from '#/kube/index.ts';
import { describeMeshConfigError, meshConfigMap, parseMeshConfig, type MeshConfig } from './mesh-config.ts';

export interface MeshConfigSource {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly log: Logger;
  readonly clock?: Clock;
}

/** Rejects only when the signal aborts. A map that cannot be read counts as empty, and is told. */
export async function readMeshConfig(source: MeshConfigSource, signal: AbortSignal): Promise<MeshConfig> {
  const { client, namespace, log } = source;
  for (;;) {
    let map: ConfigMap | undefined;
    try {
      map = await client.find(configMaps, namespace, meshConfigMap, { signal });
    } catch (error) {
      signal.throwIfAborted();
      log.warn(`the Kubernetes API cannot be asked yet: ${errorText(error)}`, { server: client.server });
      await (source.clock ?? systemClock).sleep(1000, signal);
      continue;
    }
    try {
      return parseMeshConfig(map);
    } catch (error) {
      log.error(describeMeshConfigError(error));
      return {};
    }
  }
}

/** Calls back with every later state of the map that can be read. */
export function followMeshConfig(
  { client, namespace, log, clock }: MeshConfigSource,
  onChange: (config: MeshConfig) => void,
  signal: AbortSignal,
): void {
  const informer = new Informer(client, configMaps, {
    namespace,
    fieldSelector: `metadata.name=${meshConfigMap}`,
    log,
    ...(clock === undefined ? {} : { clock }),
  });
  const changed = (map: ConfigMap | undefined) => {
    try {
      onChange(parseMeshConfig(map));
    } catch (error) {
      log.error(describeMeshConfigError(error));
    }
  };
  informer.on('add', changed);
  informer.on('update', changed);
  informer.on('delete', () => changed(undefined));
  informer.start(signal);
}

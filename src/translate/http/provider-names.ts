// Names of the external authorizers of MeshConfig.
import { list, record, text } from '../read.ts';
import type { MeshSettings } from '../settings.ts';

export function providerNames(mesh: MeshSettings): readonly string[] {
  return list(mesh.meshConfig?.['extensionProviders'])
    .map(record)
    .filter(
      (provider) =>
        provider['envoyExtAuthzHttp'] !== undefined || provider['envoyExtAuthzGrpc'] !== undefined,
    )
    .map((provider) => text(provider['name']));
}

// Telemetry, TrafficPolicy and Extension: targets that are not there, and providers that the mesh does not have.
import { field, items, string } from '../fields.ts';
import type { Analyzer } from '../finding.ts';
import { targetStatus } from './target-status.ts';

/** Without MeshConfig there are these. */
const builtIn = ['envoy', 'prometheus'];

export const providersAndTargets: Analyzer = (model, report) => {
  for (const kind of ['Telemetry', 'TrafficPolicy', 'Extension'])
    for (const document of model.all(kind)) targetStatus(model, document, report);
  // From files, nothing may be known of MeshConfig.
  if (!model.live && model.settings.meshConfig === undefined) return;
  const known = new Set([
    ...builtIn,
    ...items(model.settings.meshConfig, 'extensionProviders').map((provider) => string(provider, 'name')),
  ]);
  for (const document of model.all('Telemetry'))
    for (const section of ['accessLogging', 'metrics', 'tracing'])
      items(document.object, 'spec', section).forEach((item, i) => {
        items(item, 'providers').forEach((provider, j) => {
          const name = string(provider, 'name');
          if (known.has(name)) return;
          const path = `spec.${section}[${i}].providers[${j}].name`;
          report(
            'AUR0912',
            document,
            path,
            `${path}: there is no provider "${String(field(provider, 'name'))}"`,
          );
        });
      });
};

// Of a running mesh: what the objects' status says against what it should say.
import { field, items, string } from '../fields.ts';
import type { Analyzer } from '../finding.ts';

export const liveStatus: Analyzer = (model, report) => {
  if (!model.live) return;
  for (const [origin, wanted] of model.conditions) {
    const document = model.documents.get(origin);
    if (document === undefined) continue;
    const there = items(document.object, 'status', 'conditions');
    for (const { type, status, reason } of wanted) {
      // Istio's own control plane writes none of ours.
      if (model.settings.upstreamCompat && type === 'aura.dev/Valid') continue;
      const found = there.find((condition) => field(condition, 'type') === type);
      const value = status ? 'True' : 'False';
      if (found === undefined)
        report(
          'AUR0801',
          document,
          'status.conditions',
          `it has no condition ${type}; it should be ${value} (${reason})`,
        );
      else if (string(found, 'status') !== value)
        report(
          'AUR0801',
          document,
          'status.conditions',
          `condition ${type} is ${string(found, 'status')}; it should be ${value} (${reason})`,
        );
    }
  }
};

// Of a running mesh: what the objects' status says against what it should say.
import { routeController } from '#/translate/index.ts';
import { field, items, string } from '../fields.ts';
import type { Analyzer, Report } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';

/** Of routes: what stands in our entries of `status.parents`. */
function parents(model: MeshModel, report: Report): void {
  for (const [origin, wanted] of model.parents) {
    const document = model.documents.get(origin);
    if (document === undefined) continue;
    const ours = items(document.object, 'status', 'parents').filter(
      (entry) => string(entry, 'controllerName') === routeController,
    );
    for (const { parentRef, conditions } of wanted) {
      const name = `${string(parentRef, 'kind') || 'Gateway'} ${string(parentRef, 'name')}`;
      const entry = ours.find((one) => string(one, 'parentRef', 'name') === string(parentRef, 'name'));
      const [accepted] = conditions;
      if (accepted === undefined) continue;
      const value = accepted.status ? 'True' : 'False';
      const found = items(entry, 'conditions').find((one) => field(one, 'type') === accepted.type);
      if (string(found, 'status') !== value)
        report(
          'AUR0801',
          document,
          'status.parents',
          `for ${name}, condition ${accepted.type} is ${string(found, 'status') || 'missing'}; it should be ${value} (${accepted.reason})`,
        );
    }
  }
}

export const liveStatus: Analyzer = (model, report) => {
  if (!model.live) return;
  parents(model, report);
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

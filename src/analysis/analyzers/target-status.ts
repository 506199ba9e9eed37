// Targets of policies that do not exist, are of another namespace, or have no waypoint: what the status says.
import { keyOf, type SourceDocument } from '../document.ts';
import { field } from '../fields.ts';
import type { Report } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';

const types: ReadonlySet<string> = new Set(['WaypointAccepted', 'Accepted']);

export function targetStatus(model: MeshModel, document: SourceDocument, report: Report): void {
  for (const { type, status, reason, message } of model.conditions.get(keyOf(document)) ?? []) {
    if (!types.has(type) || (status && reason === 'Accepted')) continue;
    // What is wrong with the rest of the object is told by its problems.
    if (
      reason === 'UnsupportedValue' ||
      (type === 'Accepted' && (model.problems.get(keyOf(document)) ?? []).length > 0)
    )
      continue;
    const code = message.includes('was not found')
      ? 'AUR0306'
      : message.includes('is not bound')
        ? 'AUR0305'
        : 'AUR0307';
    const single = field(document.object, 'spec', 'targetRefs') === undefined;
    report(code, document, single ? 'spec.targetRef' : 'spec.targetRefs', message);
  }
}

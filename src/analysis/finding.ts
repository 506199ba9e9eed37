// One finding: a mistake of the registry, at a place, in the words of the case.
import { placeOf, type Place, type SourceDocument } from './document.ts';
import { findingRegistry, levels, type FindingCode, type Level } from './finding-registry.ts';
import type { MeshModel } from './mesh-model.ts';

export interface Finding {
  readonly code: FindingCode;
  readonly level: Level;
  readonly object: { readonly kind: string; readonly namespace: string; readonly name: string };
  readonly place: Place;
  readonly message: string;
  readonly fix: string;
}

export type Report = (
  code: FindingCode,
  document: SourceDocument,
  field: string,
  message: string,
  fix?: string,
) => void;

/** Looks for one kind of mistake in the whole mesh. */
export type Analyzer = (model: MeshModel, report: Report) => void;

export function finding(code: FindingCode, place: Place, message: string, fix?: string): Finding {
  const { level, fix: usual } = findingRegistry[code];
  const { kind, namespace, name } = place;
  return { code, level, object: { kind, namespace, name }, place, message, fix: fix ?? usual };
}

export function reporter(out: Finding[]): Report {
  return (code, document, field, message, fix) => {
    out.push(finding(code, placeOf(document, field), message, fix));
  };
}

/** Worst first, then by code and place; what is said twice is said once. */
export function sorted(findings: readonly Finding[]): readonly Finding[] {
  const seen = new Set<string>();
  const key = ({ place, code, message }: Finding): string =>
    [
      code,
      place.file ?? '',
      String(place.line ?? 0).padStart(8, '0'),
      place.kind,
      place.namespace,
      place.name,
      message,
    ].join(' ');
  const rank = ({ level }: Finding): number => levels.indexOf(level);
  return findings
    .filter((one) => {
      const text = key(one);
      return !seen.has(text) && seen.add(text) !== undefined;
    })
    .sort((a, b) => rank(a) - rank(b) || (key(a) < key(b) ? -1 : 1));
}

/** A few names, and how many more there are. */
export function some(names: readonly string[], limit = 3): string {
  const more = names.length - limit;
  return more > 0 ? `${names.slice(0, limit).join(', ')} and ${more} more` : names.join(', ');
}

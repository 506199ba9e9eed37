// Objects with the place where they are written: a file and its lines, or the live API.
import { isMap, LineCounter, parseAllDocuments, type Document, type Node } from 'yaml';
import type { SourceObject } from '#/translate/index.ts';
import { field, fieldSteps, items, string } from './fields.ts';

/** Where something is. Without a file: in the live API, or assumed. */
export interface Place {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly field?: string;
  readonly file?: string;
  readonly line?: number;
}

export interface SourceDocument {
  readonly object: SourceObject;
  readonly kind: string;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
  readonly file?: string;
  /** Set when a file lacks what a cluster would have made of it: what the object stands for. */
  readonly assumed?: string;
  /** The line of a field, or of the nearest thing around it that is written. */
  lineOf(path: string): number | undefined;
}

export interface UnreadablePart {
  readonly file: string;
  readonly line: number;
  readonly reason: string;
}

export const clusterKinds: ReadonlySet<string> = new Set([
  'Namespace',
  'Node',
  'GatewayClass',
  'CustomResourceDefinition',
  'ClusterRole',
  'ClusterRoleBinding',
  'PersistentVolume',
  'StorageClass',
  'PriorityClass',
  'ValidatingWebhookConfiguration',
  'MutatingWebhookConfiguration',
]);

/** What is read of one file at most. */
const maxText = 64 * 1024 * 1024;

export function documentKey(kind: string, namespace: string, name: string): string {
  return `${kind} ${namespace === '' ? name : `${namespace}/${name}`}`;
}

export function keyOf({
  kind,
  namespace,
  name,
}: Pick<SourceDocument, 'kind' | 'namespace' | 'name'>): string {
  return documentKey(kind, namespace, name);
}

export function placeOf(document: SourceDocument, path?: string): Place {
  const line = document.file === undefined ? undefined : document.lineOf(path ?? '');
  return {
    kind: document.kind,
    namespace: document.namespace,
    name: document.name,
    ...(path === undefined || path === '' ? {} : { field: path }),
    ...(document.file === undefined ? {} : { file: document.file }),
    ...(line === undefined ? {} : { line }),
  };
}

/** `file.yaml:12`, or the object's kind and name. */
export function showPlace(place: Place): string {
  if (place.file !== undefined) return place.line === undefined ? place.file : `${place.file}:${place.line}`;
  return documentKey(place.kind, place.namespace, place.name);
}

/** A document of an object that has no text: a live one, or one that is assumed. */
export function objectDocument(object: SourceObject, kind: string, assumed?: string): SourceDocument {
  return {
    object,
    kind,
    namespace: object.metadata.namespace ?? '',
    name: object.metadata.name ?? '',
    ...(assumed === undefined ? {} : { assumed }),
    lineOf: () => undefined,
  };
}

function lineFinder(
  document: Document,
  counter: LineCounter,
  base: readonly (string | number)[],
): (path: string) => number | undefined {
  return (path) => {
    let node: Node | null = document.contents;
    let offset = node?.range?.[0];
    for (const step of [...base, ...fieldSteps(path)]) {
      // The line of a map's entry is its key's: the value may begin on the next one.
      const pair = isMap(node)
        ? node.items.find((item) => String((item.key as { value?: unknown } | null)?.value) === String(step))
        : undefined;
      const next = pair === undefined ? sequenceItem(node, step) : (pair.value as Node | null);
      const at = (pair?.key as Node | null | undefined)?.range?.[0] ?? next?.range?.[0];
      if (at === undefined) break;
      offset = at;
      node = next;
    }
    return offset === undefined ? undefined : counter.linePos(offset).line;
  };
}

function sequenceItem(node: unknown, step: string | number): Node | null {
  const list = (node as { items?: readonly unknown[] } | null)?.items;
  if (typeof step !== 'number' || isMap(node) || list === undefined) return null;
  return (list[step] as Node | undefined) ?? null;
}

function parsed(
  text: string,
  lineCounter: LineCounter,
  broken: (reason: string) => void,
): readonly Document[] {
  try {
    return [...parseAllDocuments(text, { lineCounter })];
  } catch (error) {
    // The parser is recursive: a text that nests ten thousand deep has no room.
    broken(error instanceof RangeError ? 'it nests too deep' : String(error));
    return [];
  }
}

/**
 * The objects of a YAML or JSON text; lists are unfolded. What cannot be read is told and left out.
 * `namespace` is for objects that name none.
 */
export function readDocuments(
  text: string,
  file: string,
  namespace = 'default',
): { readonly documents: readonly SourceDocument[]; readonly unreadable: readonly UnreadablePart[] } {
  const documents: SourceDocument[] = [];
  const unreadable: UnreadablePart[] = [];
  if (text.length > maxText)
    return { documents, unreadable: [{ file, line: 1, reason: `longer than ${maxText} characters` }] };
  const counter = new LineCounter();
  for (const document of parsed(text, counter, (reason) => unreadable.push({ file, line: 1, reason }))) {
    const [broken] = document.errors;
    if (broken !== undefined) {
      const reason = (broken.message.split('\n')[0] ?? '').replace(/ at line .*$/, '');
      unreadable.push({ file, line: counter.linePos(broken.pos[0]).line, reason });
      continue;
    }
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      unreadable.push({ file, line: 1, reason: error instanceof Error ? error.message : String(error) });
      continue;
    }
    if (value === null || value === undefined) continue;
    const add = (object: unknown, base: readonly (string | number)[]): void => {
      const lineOf = lineFinder(document, counter, base);
      const kind = string(object, 'kind');
      const name = string(object, 'metadata', 'name');
      if (kind === 'List' || (kind.endsWith('List') && Array.isArray(field(object, 'items')))) {
        items(object, 'items').forEach((item, i) => add(item, [...base, 'items', i]));
        return;
      }
      const reason =
        kind === '' ? 'it has no kind' : name === '' ? `${kind} has no metadata.name` : undefined;
      if (reason !== undefined) {
        unreadable.push({ file, line: lineOf('') ?? 1, reason });
        return;
      }
      const own = string(object, 'metadata', 'namespace');
      const where = clusterKinds.has(kind) ? '' : own === '' ? namespace : own;
      const source = object as SourceObject;
      const metadata = { ...source.metadata, ...(where === '' ? {} : { namespace: where }) };
      documents.push({ object: { ...source, metadata }, kind, namespace: where, name, file, lineOf });
    };
    add(value, []);
  }
  return { documents, unreadable };
}

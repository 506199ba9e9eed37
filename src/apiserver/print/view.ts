// Objects in the form that a client asked for. Most answers are the stored text as it is.
import type { Item } from '../json.ts';
import { groupVersion, type Column, type Kind } from '../kinds/kind.ts';
import { parseStored, type Stored } from '../store/collection.ts';
import type { Form } from '../serving/media.ts';
import { defaultColumns } from './columns.ts';

/** The JSON text of an object in the version of `kind`. */
export function viewText(kind: Kind, stored: Stored): string {
  if (kind.convert !== undefined) return JSON.stringify(viewItem(kind, stored));
  // The store puts kind and apiVersion first. Which version an object is stored in may have been another one once.
  const head = `{"kind":${JSON.stringify(kind.kind)},"apiVersion":"`;
  const wanted = groupVersion(kind);
  const end = stored.json.indexOf('"', head.length);
  if (!stored.json.startsWith(head) || end < 0) return JSON.stringify(viewItem(kind, stored));
  return end - head.length === wanted.length && stored.json.startsWith(wanted, head.length)
    ? stored.json
    : `${head}${wanted}${stored.json.slice(end)}`;
}

/** A copy of the object in the version of `kind`. */
export function viewItem(kind: Kind, stored: Stored): Item {
  const item = parseStored(stored);
  kind.convert?.fromStorage(item);
  item.apiVersion = groupVersion(kind);
  return item;
}

export const formContentType = (form: Form): string =>
  form.as === 'object' && form.type === 'yaml' ? 'application/yaml' : 'application/json';

export interface TableOptions {
  /** What a row carries of its object. */
  readonly include: 'None' | 'Metadata' | 'Object';
  readonly now: number;
}

export function tableColumns(kind: Kind): readonly Column[] {
  return kind.columns ?? defaultColumns;
}

export function columnDefinitions(kind: Kind): unknown[] {
  return tableColumns(kind).map((column) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? '',
    description: column.description ?? '',
    priority: column.priority ?? 0,
  }));
}

export function tableRow(kind: Kind, stored: Stored, version: string, options: TableOptions): unknown {
  const item = viewItem(kind, stored);
  const internal = kind.convert === undefined ? item : parseStored(stored);
  const cells = tableColumns(kind).map((column) => column.value(internal, options.now));
  switch (options.include) {
    case 'None':
      return { cells };
    case 'Object':
      return { cells, object: item };
    case 'Metadata':
      return {
        cells,
        object: {
          kind: 'PartialObjectMetadata',
          apiVersion: `meta.k8s.io/${version}`,
          metadata: item.metadata,
        },
      };
  }
}

export function partialText(kind: Kind, stored: Stored, version: string): string {
  const { metadata } = viewItem(kind, stored);
  return JSON.stringify({ kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${version}`, metadata });
}

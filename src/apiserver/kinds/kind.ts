// What the server knows about one kind in one version: where it is stored, its shape, and its own rules.
import type { Cause } from '../api-error.ts';
import type { Item } from '../json.ts';
import type { Schema } from '../schema/schema.ts';

/** What rules may ask of the rest of the server. */
export interface KindContext {
  now(): number;
  /** Any object that is stored, as a copy. */
  find(collection: string, namespace: string, name: string): Item | undefined;
  readonly serviceAddresses: ServiceAddresses;
}

/** Who writes. */
export interface Requester {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export interface ServiceAddresses {
  /** Gives and reserves the addresses of a Service; throws 422. */
  allocate(item: Item): void;
  /** On a change: keeps what stays, gives what is new. */
  reallocate(item: Item, old: Item): void;
  release(item: Item): void;
}

/** The rules of a kind that its shape does not tell. All optional. */
export interface KindRules {
  /** Values that depend on others, after the schema's defaults. On create and update. */
  defaults?(item: Item): void;
  /** Before a create: what the server fills in or takes out. */
  create?(item: Item, context: KindContext, user: Requester): void;
  /** Before an update of the object itself (not of its status). */
  update?(item: Item, old: Item, context: KindContext): void;
  /** Before an update of the status. */
  updateStatus?(item: Item, old: Item, context: KindContext): void;
  validate?(item: Item, old: Item | undefined): Cause[];
  /** After the object is gone from the store. */
  removed?(item: Item, context: KindContext): void;
  selectable?(item: Item): Readonly<Record<string, string>>;
  readonly selectablePaths?: readonly string[];
  /** What a name must be. A DNS subdomain by default. */
  readonly nameForm?: 'subdomain' | 'label' | 'label1035' | 'path';
  /** The spec is counted in metadata.generation. */
  readonly generation?: boolean;
  /** A stored object that makes way when one of its name is created. */
  yields?(stored: Item): boolean;
  /** Seconds before a delete is carried out by whoever runs the object; undefined or 0: at once. */
  grace?(item: Item, asked: number | undefined): number;
}

/** A column of the table form. `path` is a JSON path, or a function for built-in kinds. */
export interface Column {
  readonly name: string;
  readonly type: string;
  readonly format?: string;
  readonly description?: string;
  /** 0 is always shown, 1 only in wide output. */
  readonly priority?: number;
  readonly value: (item: Item, now: number) => string | number | boolean | null;
}

export interface ScalePaths {
  readonly specReplicas: string;
  readonly statusReplicas: string;
  /** Path of a selector in text form; built-in kinds use spec.selector. */
  readonly selector?: string;
}

export interface Kind {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly listKind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
  /** The collection's name in the store. Versions of one kind share it. */
  readonly collection: string;
  /** The apiVersion that objects are stored in. */
  readonly storageApiVersion: string;
  readonly schema: Schema;
  readonly subresources: ReadonlySet<string>;
  readonly rules: KindRules;
  readonly columns: readonly Column[] | undefined;
  readonly scale?: ScalePaths;
  /** Set for kinds that a CustomResourceDefinition made. */
  readonly custom?: CustomRules;
  /** For versions whose fields differ from the stored ones. */
  readonly convert?: { toStorage(item: Item): void; fromStorage(item: Item): void };
}

export interface CustomRules {
  /** Unknown fields are kept everywhere. */
  readonly preserveUnknown: boolean;
  /** Checks of values, and rules in CEL. */
  validate(item: Item, old: Item | undefined): Cause[];
}

export const groupVersion = (kind: Pick<Kind, 'group' | 'version'>): string =>
  kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;

export const allVerbs = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
] as const;

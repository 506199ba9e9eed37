// What every translation knows of an object: its name, age and labels.
import { labelMap, record, text, type Labels } from './read.ts';

/** Any Kubernetes object, as an informer or a file gives it. Only the metadata is relied on. */
export interface SourceObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name?: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly generation?: number;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly generateName?: string;
    readonly labels?: Labels;
    readonly annotations?: Labels;
    readonly ownerReferences?: readonly unknown[];
  };
  readonly spec?: unknown;
  readonly status?: unknown;
  /** EndpointSlice has its fields at the top. */
  readonly addressType?: unknown;
  readonly endpoints?: unknown;
  readonly ports?: unknown;
  /** ConfigMap. */
  readonly data?: unknown;
}

export interface ObjectFacts {
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since the epoch; 0 when unknown, so that such an object counts as the oldest. */
  readonly created: number;
}

export function objectFacts(object: SourceObject): ObjectFacts {
  const created = Date.parse(text(object.metadata.creationTimestamp));
  return {
    namespace: object.metadata.namespace ?? '',
    name: object.metadata.name ?? '',
    created: Number.isNaN(created) ? 0 : created,
  };
}

export function labelsOf(object: SourceObject): Labels {
  return labelMap(object.metadata.labels);
}

export function annotationsOf(object: SourceObject): Labels {
  return labelMap(object.metadata.annotations);
}

export function specOf(object: SourceObject): Readonly<Record<string, unknown>> {
  return record(object.spec);
}

/** `ns/name`, or the bare name of a cluster-wide object. */
export function objectKey(object: Pick<ObjectFacts, 'namespace' | 'name'>): string {
  return object.namespace === '' ? object.name : `${object.namespace}/${object.name}`;
}

/** Sort order for "the oldest wins"; objects of one second are ordered by their names, so that replicas agree. */
export function byAge(a: ObjectFacts, b: ObjectFacts): number {
  return a.created - b.created || compareText(objectKey(a), objectKey(b));
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

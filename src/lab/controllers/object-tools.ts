// Small facts about objects that several controllers need. Pure.
import { createHash, randomInt } from 'node:crypto';
import type {
  KubeObject,
  LabelSelector,
  ObjectMeta,
  OwnerReference,
  Pod,
  PodTemplate,
} from '#/kube/index.ts';

export const keyOf = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ''}/${metadata.name}`;

export function splitKey(key: string): [namespace: string, name: string] {
  const slash = key.indexOf('/');
  return [key.slice(0, slash), key.slice(slash + 1)];
}

export function matchesSelector(
  selector: LabelSelector | undefined,
  labels: Readonly<Record<string, string>> = {},
): boolean {
  if (selector === undefined) return false;
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}))
    if (labels[key] !== value) return false;
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const value = labels[key];
    const holds =
      operator === 'In'
        ? value !== undefined && values.includes(value)
        : operator === 'NotIn'
          ? value === undefined || !values.includes(value)
          : (value !== undefined) === (operator === 'Exists');
    if (!holds) return false;
  }
  return true;
}

export const controllerOf = (object: KubeObject): OwnerReference | undefined =>
  object.metadata.ownerReferences?.find(({ controller }) => controller === true);

export const isControlledBy = (object: KubeObject, owner: KubeObject): boolean =>
  controllerOf(object)?.uid === owner.metadata.uid;

export function ownerReference(owner: KubeObject, apiVersion: string, kind: string): OwnerReference {
  return {
    apiVersion,
    kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

export const isPodReady = (pod: Pod): boolean =>
  pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;

export const isPodTerminal = (pod: Pod): boolean =>
  pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';

/** Ready since at least `seconds`. */
export function isPodAvailable(pod: Pod, seconds: number, now: number): boolean {
  const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready');
  if (ready?.status !== 'True') return false;
  return seconds === 0 || now - Date.parse(ready.lastTransitionTime ?? '') >= seconds * 1000;
}

// No vowels and no characters that look alike, as in Kubernetes' generated names.
const alphabet = 'bcdfghjklmnpqrstvwxz2456789';

export function randomSuffix(length = 5): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
}

/** JSON with sorted keys, and without what is undefined. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
}

/** A short name for a pod template: equal templates, equal hash. */
export function hashOf(value: unknown, length = 10): string {
  const digest = createHash('sha256').update(canonicalJson(value)).digest();
  return Array.from({ length }, (_, i) => alphabet[(digest[i] as number) % alphabet.length]).join('');
}

/** The metadata and spec of a pod made from a template. */
export function podFromTemplate(
  template: PodTemplate,
  name: string,
  namespace: string,
  owner: OwnerReference,
  labels: Readonly<Record<string, string>> = {},
): Pod {
  const metadata: ObjectMeta = {
    name,
    // By this a mesh tells the pods of a controller from those made by hand.
    generateName: `${owner.name}-`,
    namespace,
    labels: { ...template.metadata?.labels, ...labels },
    ...(template.metadata?.annotations === undefined ? {} : { annotations: template.metadata.annotations }),
    ...(template.metadata?.finalizers === undefined ? {} : { finalizers: template.metadata.finalizers }),
    ownerReferences: [owner],
  };
  return { metadata, spec: template.spec };
}

/** `25%` of `total`, rounded up or down, or the number itself. */
export function shareOf(value: number | string | undefined, total: number, up: boolean): number {
  if (value === undefined) return shareOf('25%', total, up);
  if (typeof value === 'number') return value;
  const match = /^(\d+)%$/.exec(value);
  if (match === null) return Number(value) || 0;
  const exact = (Number(match[1]) * total) / 100;
  return up ? Math.ceil(exact) : Math.floor(exact);
}

// The rules of CustomResourceDefinition as a kind.
import { createHash } from 'node:crypto';
import { digList, digText, formatTime, isObject, type Item, type Json, type JsonObject } from '../json.ts';
import type { KindRules } from '../kinds/kind.ts';
import { definitionCauses } from './definition.ts';

/** Keeps a definition until its objects are gone. */
export const cleanup = 'customresourcecleanup.apiextensions.k8s.io';

/** Marks a definition as one of ours, with a hash of all of ours and one of its own spec. */
export const defaultMark = 'apiserver.aura/default-definition';

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key] as Json)]),
  );
}

export const specHash = (item: Item): string =>
  createHash('sha256')
    .update(JSON.stringify(sorted(item.spec ?? {})))
    .digest('hex')
    .slice(0, 16);

/** One of ours that nobody has changed. */
export function isUntouched(item: Item): boolean {
  const mark = item.metadata.annotations?.[defaultMark];
  return mark !== undefined && mark.split(' ')[1] === specHash(item);
}

function nameDefaults(item: Item): void {
  const names = item.spec?.['names'];
  if (isObject(names)) {
    const kind = digText(names, 'kind');
    names['singular'] ??= kind.toLowerCase();
    names['listKind'] ??= `${kind}List`;
  }
}

function statusOf(item: Item, old: JsonObject | undefined, now: number): JsonObject {
  const names = item.spec?.['names'] ?? {};
  const storage = digList(item.spec, 'versions').find(
    (version) => isObject(version) && version['storage'] === true,
  );
  const known = digList(old, 'storedVersions').map(String);
  const stored = digText(storage, 'name');
  const time = formatTime(now);
  const condition = (type: string, reason: string, message: string): JsonObject => {
    const before = digList(old, 'conditions').find((entry) => digText(entry, 'type') === type);
    return {
      type,
      status: 'True',
      reason,
      message,
      lastTransitionTime: digText(before, 'status') === 'True' ? digText(before, 'lastTransitionTime') : time,
    };
  };
  return {
    acceptedNames: names,
    conditions: [
      condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
      condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
    ],
    storedVersions: known.includes(stored) ? known : [...known, stored],
  };
}

export const definitionRules: KindRules = {
  generation: true,
  defaults: nameDefaults,
  create(item, context) {
    item.metadata.finalizers = [...new Set([...(item.metadata.finalizers ?? []), cleanup])];
    item.status = statusOf(item, undefined, context.now());
  },
  update(item, old, context) {
    item.status = statusOf(item, old.status, context.now());
  },
  validate: definitionCauses,
  // `kubectl create` of upstream's own definition must not fail because ours was here first.
  yields: isUntouched,
};

// `status.parents` of a route: an entry per parent and controller. Ours are those with our controller's name.
import { routeController, type ParentStatus } from '#/translate/index.ts';
import { conditionOf, currentConditions, settledCondition } from './status-conditions.ts';

type Entry = Readonly<Record<string, unknown>>;

/** The API gives at most this many room. */
const maxParents = 32;

const parts = ['group', 'kind', 'namespace', 'name', 'sectionName', 'port'] as const;
const defaults: Entry = { group: 'gateway.networking.k8s.io', kind: 'Gateway' };

const isEntry = (value: unknown): value is Entry => typeof value === 'object' && value !== null;

function sameRef(a: unknown, b: Entry): boolean {
  if (!isEntry(a)) return false;
  return parts.every((part) => (a[part] ?? defaults[part]) === (b[part] ?? defaults[part]));
}

function settled(entry: Entry, wanted: ParentStatus): boolean {
  const current = currentConditions(entry['conditions']);
  return (
    current.length === wanted.conditions.length &&
    wanted.conditions.every((want) =>
      settledCondition(
        want,
        current.find(({ type }) => type === want.type),
      ),
    )
  );
}

/** The list with our entries as wanted and all others as they are; undefined if nothing must be written. */
export function mergedParents(
  value: unknown,
  wanted: readonly ParentStatus[],
  now: number,
): readonly unknown[] | undefined {
  const all: readonly unknown[] = Array.isArray(value) ? value : [];
  const ours = all.filter(
    (entry): entry is Entry => isEntry(entry) && entry['controllerName'] === routeController,
  );
  const others = all.filter((entry) => !isEntry(entry) || entry['controllerName'] !== routeController);
  const room = wanted.slice(0, Math.max(0, maxParents - others.length));
  const found = room.map((want) => ours.find((entry) => sameRef(entry['parentRef'], want.parentRef)));
  if (
    ours.length === room.length &&
    room.every((want, i) => found[i] !== undefined && settled(found[i], want))
  )
    return undefined;
  return [
    ...others,
    ...room.map(({ parentRef, conditions }, i) => {
      const current = currentConditions(found[i]?.['conditions']);
      return {
        parentRef,
        controllerName: routeController,
        conditions: conditions.map((want) => conditionOf(want, current, now)),
      };
    }),
  ];
}

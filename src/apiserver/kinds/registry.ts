// Which kinds are served right now. The built-in ones are fixed, those of CustomResourceDefinitions come and go.
import { groupVersion, type Kind } from './kind.ts';

export class Registry {
  readonly #byVersion = new Map<string, Map<string, Kind>>();
  readonly #listeners: (() => void)[] = [];
  /** Grows with each change: the discovery documents are made anew when it has. */
  revision = 0;

  constructor(kinds: readonly Kind[]) {
    for (const kind of kinds) this.#add(kind);
  }

  /** By group, version and plural. */
  get(group: string, version: string, plural: string): Kind | undefined {
    return this.#byVersion.get(group === '' ? version : `${group}/${version}`)?.get(plural);
  }

  /** By apiVersion and kind. */
  find(apiVersion: string, kind: string): Kind | undefined {
    for (const candidate of this.#byVersion.get(apiVersion)?.values() ?? [])
      if (candidate.kind === kind) return candidate;
    return undefined;
  }

  hasVersion(group: string, version: string): boolean {
    return this.#byVersion.has(group === '' ? version : `${group}/${version}`);
  }

  /** The kinds of one group version, by plural. */
  inVersion(apiVersion: string): readonly Kind[] {
    return [...(this.#byVersion.get(apiVersion)?.values() ?? [])];
  }

  *all(): Generator<Kind> {
    for (const kinds of this.#byVersion.values()) yield* kinds.values();
  }

  /** The versions of a collection that are served; any of them for work on its objects. */
  ofCollection(collection: string): Kind | undefined {
    let other: Kind | undefined;
    for (const kind of this.all()) {
      if (kind.collection !== collection) continue;
      // The version that is stored needs no conversion.
      if (groupVersion(kind) === kind.storageApiVersion) return kind;
      other ??= kind;
    }
    return other;
  }

  /** Group → versions, best first: GA before beta before alpha, higher before lower. */
  groups(): Map<string, string[]> {
    const out = new Map<string, string[]>();
    for (const apiVersion of this.#byVersion.keys()) {
      const slash = apiVersion.indexOf('/');
      const group = slash < 0 ? '' : apiVersion.slice(0, slash);
      const versions = out.get(group) ?? [];
      versions.push(apiVersion.slice(slash + 1));
      out.set(group, versions);
    }
    for (const versions of out.values()) versions.sort(compareVersions);
    return out;
  }

  /** Replaces the kinds that one CustomResourceDefinition has made. */
  replace(gone: readonly Kind[], kinds: readonly Kind[]): void {
    for (const kind of gone) {
      const plurals = this.#byVersion.get(groupVersion(kind));
      if (plurals?.get(kind.plural) !== kind) continue;
      plurals.delete(kind.plural);
      if (plurals.size === 0) this.#byVersion.delete(groupVersion(kind));
    }
    for (const kind of kinds) this.#add(kind);
    this.revision++;
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #add(kind: Kind): void {
    const key = groupVersion(kind);
    let plurals = this.#byVersion.get(key);
    if (plurals === undefined) this.#byVersion.set(key, (plurals = new Map()));
    plurals.set(kind.plural, kind);
  }
}

const versionPattern = /^v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?$/;

/** The order of preference among the versions of a group. */
export function compareVersions(a: string, b: string): number {
  const left = versionPattern.exec(a);
  const right = versionPattern.exec(b);
  if (left === null || right === null) {
    if (left === null && right === null) return a < b ? -1 : 1;
    return left === null ? 1 : -1;
  }
  const stage = (match: RegExpExecArray): number =>
    match[2] === undefined ? 2 : match[2] === 'beta' ? 1 : 0;
  return (
    stage(right) - stage(left) ||
    Number(right[1]) - Number(left[1]) ||
    Number(right[3] ?? 0) - Number(left[3] ?? 0)
  );
}

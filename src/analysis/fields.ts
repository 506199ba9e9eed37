// Reading objects of any kind by path. Nothing throws: what is not there, or of another shape, is empty.

export type Labels = Readonly<Record<string, string>>;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What stands at the path; undefined if nothing does. */
export function field(value: unknown, ...path: readonly (string | number)[]): unknown {
  let at = value;
  for (const step of path) {
    if (typeof step === 'number') at = Array.isArray(at) ? (at as unknown[])[step] : undefined;
    else at = isRecord(at) && Object.hasOwn(at, step) ? at[step] : undefined;
  }
  return at;
}

export function items(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const found = field(value, ...path);
  return Array.isArray(found) ? (found as unknown[]) : [];
}

export function string(value: unknown, ...path: readonly (string | number)[]): string {
  const found = field(value, ...path);
  return typeof found === 'string' ? found : '';
}

export function strings(value: unknown, ...path: readonly string[]): readonly string[] {
  return items(value, ...path).filter((item) => typeof item === 'string');
}

export function labels(value: unknown, ...path: readonly string[]): Labels {
  const found = field(value, ...path);
  if (!isRecord(found)) return {};
  return Object.fromEntries(
    Object.entries(found).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  );
}

/** The steps of `spec.rules[0].from`. A map's key that holds dots or slashes stands in brackets: `labels[a.b/c]`. */
export function fieldSteps(path: string): readonly (string | number)[] {
  return Array.from(path.matchAll(/\[([^\]]*)\]|[^.[\]]+/g), ([whole, inside]) =>
    inside === undefined ? whole : /^[0-9]+$/.test(inside) ? Number(inside) : inside,
  );
}

// Reading untrusted JSON: every function gives a value of the asked shape, or the empty one. Custom objects may
// hold anything (their schema may be an older one), so nothing here throws.

export type Json = Readonly<Record<string, unknown>>;
export type Labels = Readonly<Record<string, string>>;

const nothing: Json = Object.freeze({});
const noLabels: Labels = Object.freeze({});

export function record(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : nothing;
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function optionalText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function texts(value: unknown): readonly string[] {
  return list(value).filter((item) => typeof item === 'string');
}

export function integer(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : 0;
}

export function labelMap(value: unknown): Labels {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return noLabels;
  for (const item of Object.values(value)) {
    if (typeof item !== 'string')
      return Object.fromEntries(
        Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
      );
  }
  return value as Labels;
}

/** Numbers by name, such as a WorkloadEntry's ports. */
export function numberMap(value: unknown): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(record(value)).filter((pair): pair is [string, number] => typeof pair[1] === 'number'),
  );
}

/** `true`, `True`, `1`, `t` … as Go's ParseBool has it; anything else, also what is not a boolean, is false. */
export function isTrue(value: string | undefined): boolean {
  return value !== undefined && ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value);
}

/** The fields of `value` that are not in `known`. */
export function unknownFields(value: unknown, known: readonly string[]): readonly string[] {
  return Object.keys(record(value)).filter((key) => !known.includes(key));
}

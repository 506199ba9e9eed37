// CEL over the attributes of a record: filters of the access log, values of metric tags, %CEL()% of formats.
// Compiled once; unknown variables and wrong types are found then.
import type { Environment } from '@marcbachmann/cel-js';
import { attributes, rootAttributes } from './attributes.ts';
import { makeEnvironment, parseCel } from './cel-library.ts';
import type { AnyRecord } from './exchange-record.ts';

/** Undefined: the expression could not be evaluated, as when it asks for a header that is not there. */
export type CelProgram = (record: AnyRecord) => unknown;

export type CompiledCel =
  | { readonly ok: true; readonly run: CelProgram; readonly type: string }
  | { readonly ok: false; readonly problem: string };

let shared: Environment | undefined;

const environment = (): Environment =>
  (shared ??= makeEnvironment([...Object.keys(attributes), ...Object.keys(rootAttributes)]));

/** Every name and text that stands in the expression: what it can ask for. */
function wordsOf(node: unknown, words: Set<string>): Set<string> {
  if (typeof node === 'string') words.add(node);
  else if (Array.isArray(node)) for (const part of node) wordsOf(part, words);
  else if (typeof node === 'object' && node !== null && 'args' in node) wordsOf(node.args, words);
  return words;
}

type Fill = (record: AnyRecord, context: Record<string, unknown>) => void;

function filler(words: ReadonlySet<string>): Fill {
  const names = [...words];
  const roots = Object.entries(attributes)
    .filter(([root]) => words.has(root))
    .map(([root, getters]) => [root, Object.entries(getters).filter(([name]) => words.has(name))] as const);
  const whole = Object.entries(rootAttributes).filter(([root]) => words.has(root));
  return (record, context) => {
    for (const [root, getters] of roots) {
      const values = new Map<string, unknown>();
      for (const [name, get] of getters) {
        const value = get(record, names);
        if (value !== undefined) values.set(name, value);
      }
      context[root] = values;
    }
    for (const [root, get] of whole) context[root] = get(record, names) ?? new Map();
  };
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? (error.message.split('\n')[0] as string) : String(error);

/** The problem tells what is wrong with the expression, not whose it is. */
export function compileCel(expression: string): CompiledCel {
  try {
    const program = parseCel(environment(), expression);
    const { valid, type, error } = program.check();
    if (!valid) return { ok: false, problem: messageOf(error) };
    const fill = filler(wordsOf(program.ast, new Set()));
    return {
      ok: true,
      type: type ?? 'dyn',
      run: (record) => {
        const context: Record<string, unknown> = {};
        fill(record, context);
        try {
          return program(context) as unknown;
        } catch {
          return undefined;
        }
      },
    };
  } catch (error) {
    return { ok: false, problem: messageOf(error) };
  }
}

/** A value of CEL as text, for tags and log lines. Undefined for what has none. */
export function celText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint' || typeof value === 'number' || typeof value === 'boolean')
    return String(value);
  if (value instanceof Date) return value.toISOString();
  return undefined;
}

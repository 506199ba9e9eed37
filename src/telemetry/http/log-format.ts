// Formats of the access log, compiled once: text with command operators, or a template of JSON whose texts are such
// formats. What comes from clients and servers is escaped, so that nobody can forge a field or a line.
import { compileOperator, type LogSurroundings, type LogValue } from './log-operators.ts';
import type { AnyRecord } from './exchange-record.ts';

export interface LogFormat {
  /** One line, without the line break. */
  line(record: AnyRecord): string;
  /** What is wrong with the format. The line is written all the same, `-` for what is not understood. */
  readonly problems: readonly string[];
}

export type JsonTemplate =
  | string
  | number
  | boolean
  | null
  | readonly JsonTemplate[]
  | { readonly [key: string]: JsonTemplate };

type Part = string | LogValue;

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\0': '\\0',
};
// As the lines of the node proxy are escaped, without the quotes: those stand in the format.
const special = /["\\\p{Cc}\u2028\u2029]/u;
const allSpecial = new RegExp(special, 'gu');

const escaped = (text: string): string =>
  special.test(text)
    ? text.replace(
        allSpecial,
        (character) => escapes[character] ?? `\\u{${character.charCodeAt(0).toString(16)}}`,
      )
    : text;

const maxLength =
  (value: LogValue, length: number): LogValue =>
  (record) => {
    const found = value(record);
    return typeof found === 'string' && found.length > length ? found.slice(0, length) : found;
  };

// Arguments end at the first parenthesis that an operator can end with: those of CEL hold parentheses of their own.
const command = /%(?:%|([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]{1,6}))?%)/gs;

function parts(format: string, around: LogSurroundings, problems: string[]): Part[] {
  const found: Part[] = [];
  let text = '';
  let last = 0;
  const literal = (piece: string): void => {
    if (piece.includes('%'))
      problems.push(`"${piece.slice(piece.indexOf('%'), piece.indexOf('%') + 40)}" is not an operator`);
    text += piece;
  };
  for (const match of format.matchAll(command)) {
    literal(format.slice(last, match.index));
    last = match.index + match[0].length;
    const [, name, args, length] = match;
    if (name === undefined) {
      text += '%';
      continue;
    }
    const value = compileOperator(name, args, around);
    if (text !== '') found.push(text);
    text = '';
    if (typeof value !== 'function') {
      problems.push(value.problem);
      found.push(() => undefined);
    } else found.push(length === undefined ? value : maxLength(value, Number(length)));
  }
  literal(format.slice(last));
  if (text !== '') found.push(text);
  return found;
}

function asText(found: string | number | undefined): string {
  if (found === undefined) return '-';
  return typeof found === 'number' ? String(found) : escaped(found);
}

/** A format of text. A line break at its end is left out. */
export function compileTextFormat(format: string, around: LogSurroundings = {}): LogFormat {
  const problems: string[] = [];
  const compiled = parts(format.replace(/\r?\n$/, ''), around, problems);
  return {
    problems,
    line: (record) => {
      let line = '';
      for (const part of compiled) line += typeof part === 'string' ? part : asText(part(record));
      return line;
    },
  };
}

type JsonWriter = (record: AnyRecord) => string;

function stringWriter(format: string, around: LogSurroundings, problems: string[]): JsonWriter {
  const compiled = parts(format, around, problems);
  const [only] = compiled;
  // A value that is one operator keeps its type; nothing is null.
  if (compiled.length === 1 && typeof only === 'function')
    return (record) => {
      const found = only(record);
      if (typeof found === 'number') return String(found);
      return found === undefined ? 'null' : JSON.stringify(found);
    };
  return (record) =>
    JSON.stringify(
      compiled.map((part) => (typeof part === 'string' ? part : (part(record) ?? '-'))).join(''),
    );
}

function writer(template: JsonTemplate, around: LogSurroundings, problems: string[]): JsonWriter {
  if (typeof template === 'string') return stringWriter(template, around, problems);
  if (template === null || typeof template !== 'object') {
    const text = JSON.stringify(template);
    return () => text;
  }
  if (Array.isArray(template)) {
    const entries = template.map((entry: JsonTemplate) => writer(entry, around, problems));
    return (record) => `[${entries.map((entry) => entry(record)).join(',')}]`;
  }
  // Envoy writes the keys in their order as text.
  const fields = Object.entries(template as Readonly<Record<string, JsonTemplate>>)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([key, value], index) =>
        [`${index === 0 ? '' : ','}${JSON.stringify(key)}:`, writer(value, around, problems)] as const,
    );
  return (record) => {
    let text = '{';
    for (const [key, value] of fields) text += key + value(record);
    return `${text}}`;
  };
}

/** Names to formats, as `labels` of a provider. */
export function compileJsonFormat(
  labels: Readonly<Record<string, JsonTemplate>>,
  around: LogSurroundings = {},
): LogFormat {
  const problems: string[] = [];
  return { problems, line: writer(labels, around, problems) };
}

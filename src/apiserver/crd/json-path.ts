// The JSON paths of printer columns and selectable fields: names, indexes, wildcards and filters by equality.
import { isObject, type Json } from '../json.ts';

type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | {
      readonly kind: 'filter';
      readonly path: readonly string[];
      readonly equals: boolean;
      readonly value: Json;
    };

const tokens =
  /\.?\['((?:[^'\\]|\\.)*)'\]|\.?\["((?:[^"\\]|\\.)*)"\]|\[(-?\d+)\]|\[\*\]|\.\*|\[\?\(\s*@((?:\.[A-Za-z0-9_-]+)+)\s*(==|!=)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|true|false|-?[\d.]+)\s*\)\]|\.((?:[^.[\]\\]|\\.)+)/y;

/** Undefined if the path is not understood. */
export function parseJsonPath(text: string): readonly Step[] | undefined {
  const steps: Step[] = [];
  const trimmed = text
    .trim()
    .replace(/^\{(.*)\}$/s, '$1')
    .replace(/^\$/, '');
  const path = trimmed.startsWith('.') || trimmed.startsWith('[') ? trimmed : `.${trimmed}`;
  tokens.lastIndex = 0;
  let at = 0;
  while (at < path.length) {
    tokens.lastIndex = at;
    const match = tokens.exec(path);
    if (match === null) return undefined;
    at = tokens.lastIndex;
    const [whole, single, double, index, filter, operator, value, name] = match;
    if (whole === '[*]' || whole === '.*') steps.push({ kind: 'all' });
    else if (index !== undefined) steps.push({ kind: 'index', index: Number(index) });
    else if (filter !== undefined)
      steps.push({
        kind: 'filter',
        path: filter.slice(1).split('.'),
        equals: operator === '==',
        value: JSON.parse((value ?? 'null').replace(/^'(.*)'$/s, '"$1"')) as Json,
      });
    else steps.push({ kind: 'field', name: (single ?? double ?? name ?? '').replace(/\\(.)/g, '$1') });
  }
  return steps;
}

/** All values at a path. */
export function evaluateJsonPath(steps: readonly Step[], root: Json): Json[] {
  let values: Json[] = [root];
  for (const step of steps) {
    const next: Json[] = [];
    for (const value of values) {
      switch (step.kind) {
        case 'field':
          if (isObject(value) && Object.hasOwn(value, step.name)) next.push(value[step.name] as Json);
          break;
        case 'index': {
          const entry = Array.isArray(value) ? value.at(step.index) : undefined;
          if (entry !== undefined) next.push(entry);
          break;
        }
        case 'all':
          if (Array.isArray(value)) next.push(...value);
          else if (isObject(value)) next.push(...Object.values(value));
          break;
        case 'filter':
          for (const entry of Array.isArray(value) ? value : []) {
            let at: Json | undefined = entry;
            for (const key of step.path) at = isObject(at) ? at[key] : undefined;
            if ((at === step.value) === step.equals) next.push(entry);
          }
      }
    }
    values = next;
  }
  return values;
}

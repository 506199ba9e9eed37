// The first rule of many that matches, without looking at each: rules that only some paths can match are found by the
// first element of the request's path. The answer is that of looking at all of them, in their order.
import type { HttpPolicyRule, PathTemplate, StringMatch } from '#/model/index.ts';
import { ruleMatches, type CompiledHttpPolicy, type CompiledHttpRule } from './compile-http.ts';
import type { HttpView } from './http-view.ts';

interface Ordered {
  readonly order: number;
  readonly rule: CompiledHttpRule;
}

/** Fewer are looked at one by one. */
const least = 16;

const none: readonly Ordered[] = [];

export class RuleIndex {
  readonly #all: readonly Ordered[];
  readonly #byElement = new Map<string, Ordered[]>();
  readonly #rest: Ordered[] = [];

  /** Policies in their order. */
  constructor(policies: readonly CompiledHttpPolicy[]) {
    this.#all = policies
      .flatMap((policy) => policy.rules.map((rule, i) => ({ rule, written: policy.policy.rules[i] })))
      .map(({ rule, written }, order) => {
        const ordered = { order, rule };
        const elements =
          written === undefined || rule.http !== rule.written ? undefined : firstElements(written);
        if (elements === undefined) this.#rest.push(ordered);
        else
          for (const element of elements) {
            const list = this.#byElement.get(element);
            if (list === undefined) this.#byElement.set(element, [ordered]);
            else list.push(ordered);
          }
        return ordered;
      });
  }

  first(view: HttpView): CompiledHttpRule | undefined {
    const { request } = view;
    if (request === undefined || this.#all.length < least) return firstOf(this.#all, view)?.rule;
    const found = firstOf(this.#byElement.get(elementOf(request.path)) ?? none, view);
    const other = firstOf(this.#rest, view, found?.order);
    return (other ?? found)?.rule;
  }
}

/** `before`: those from this place on are of no interest. */
function firstOf(list: readonly Ordered[], view: HttpView, before = Infinity): Ordered | undefined {
  for (const ordered of list) {
    if (ordered.order >= before) return undefined;
    if (ruleMatches(ordered.rule, view)) return ordered;
  }
  return undefined;
}

/** Of `/a/b` it is `a`; of anything without a slash in front, the whole. */
function elementOf(path: string): string {
  if (!path.startsWith('/')) return path;
  const end = path.indexOf('/', 1);
  return end < 0 ? path.slice(1) : path.slice(1, end);
}

/** The first elements of all paths that can match; undefined if there is no telling. */
function firstElements({ to }: HttpPolicyRule): ReadonlySet<string> | undefined {
  if (to.length === 0) return undefined;
  const elements = new Set<string>();
  for (const { paths } of to) {
    if (paths === undefined || paths.values.length === 0) return undefined;
    for (const match of paths.values) {
      const element = firstElement(match);
      if (element === undefined) return undefined;
      elements.add(element);
    }
  }
  return elements;
}

function firstElement(match: StringMatch | PathTemplate): string | undefined {
  if (match.kind === 'presence' || match.kind === 'suffix') return undefined;
  if (match.kind === 'exact') return elementOf(match.value);
  // Of a prefix or a template the first element is only known if another follows, and has no braces in it.
  if (!match.value.startsWith('/')) return undefined;
  const end = match.value.indexOf('/', 1);
  const element = match.value.slice(1, end);
  return end < 0 || element.includes('{') || element.includes('}') ? undefined : element;
}

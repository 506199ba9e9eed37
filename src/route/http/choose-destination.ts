// Which of a rule's destinations takes a request, by weight.
import type { HeaderChange, HttpRule, Mirror, WeightedDestination } from '#/model/index.ts';
import { compileRewrite, type CompiledRewrite } from './rewrites.ts';

/** A destination with all that the rule and its reference add, put together once. */
export interface DestinationChoice {
  readonly reference: WeightedDestination;
  /** In the order of application: the rule's, then the reference's, so that the more specific wins. */
  readonly requestHeaders: readonly HeaderChange[];
  readonly responseHeaders: readonly HeaderChange[];
  readonly mirrors: readonly Mirror[];
  readonly rewrite?: CompiledRewrite;
}

export interface DestinationChoices {
  readonly choices: readonly DestinationChoice[];
  /** Running sums of the weights. */
  readonly upTo: readonly number[];
  readonly total: number;
}

const present = <T>(...values: readonly (T | undefined)[]): T[] =>
  values.filter((value) => value !== undefined);

/** A path that cannot be rewritten must not reach the destination as it is: it is another resource there. */
function unusable({ destination: _, ...rest }: WeightedDestination, broken: string): WeightedDestination {
  return { ...rest, broken };
}

export function compileDestinations(
  destinations: readonly WeightedDestination[],
  rule: Pick<HttpRule, 'requestHeaders' | 'responseHeaders' | 'mirrors' | 'rewrite'>,
  problems: string[],
): DestinationChoices {
  const upTo: number[] = [];
  let total = 0;
  // A weight that is negative or not a number counts as none.
  for (const { weight } of destinations) upTo.push((total += weight > 0 ? weight : 0));
  const choices = destinations.map((given): DestinationChoice => {
    const found: string[] = [];
    // Field by field: a reference may change the path and leave the host to the rule.
    const rewrite = compileRewrite({ ...rule.rewrite, ...given.rewrite }, found);
    problems.push(...found);
    const [broken] = found;
    return {
      reference: broken === undefined ? given : unusable(given, broken),
      requestHeaders: present(rule.requestHeaders, given.requestHeaders),
      responseHeaders: present(rule.responseHeaders, given.responseHeaders),
      mirrors: [...(rule.mirrors ?? []), ...(given.mirrors ?? [])],
      ...(rewrite && { rewrite }),
    };
  });
  return { choices, upTo, total };
}

/** Undefined: there is none, or none has a weight; such a request gets 500. */
export function chooseDestination(
  { choices, upTo, total }: DestinationChoices,
  random: () => number,
): DestinationChoice | undefined {
  if (total <= 0) return undefined;
  if (choices.length === 1) return choices[0];
  const point = random() * total;
  for (let i = 0; i < upTo.length; i++) if (point < (upTo[i] as number)) return choices[i];
  // random() < 1, but the product may round up to the total: the last with a weight.
  for (let i = choices.length - 1; i >= 0; i--)
    if ((choices[i] as DestinationChoice).reference.weight > 0) return choices[i];
  return undefined;
}

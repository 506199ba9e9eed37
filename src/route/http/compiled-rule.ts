// What a rule does, compiled with its route.
import type { HttpRule } from '#/model/index.ts';
import { compileDestinations, type DestinationChoices } from './choose-destination.ts';
import { compileCors, type CompiledCors } from './cors.ts';
import { compileRedirect, type CompiledRedirect } from './redirects.ts';
import { compileRetry, type RetryPolicy } from './retry.ts';

export interface CompiledRule {
  /** Of a rule that forwards. */
  readonly destinations?: DestinationChoices;
  readonly redirect?: CompiledRedirect;
  readonly retry?: RetryPolicy;
  readonly cors?: CompiledCors;
}

export function compileRule(rule: HttpRule, problems: string[]): CompiledRule {
  const { action } = rule;
  return {
    ...(action.kind === 'forward' && {
      destinations: compileDestinations(action.destinations, rule, problems),
    }),
    ...(action.kind === 'redirect' && { redirect: compileRedirect(action.redirect, problems) }),
    ...(rule.retry && { retry: compileRetry(rule.retry) }),
    ...(rule.cors && { cors: compileCors(rule.cors, problems) }),
  };
}

// What would change the answer of a waypoint, in sentences that name the object and the rule.
import { showPlace, type Place } from './document.ts';
import type { HopReport } from './explain-report.ts';
import type { RequestReport } from './request-report.ts';

const at = (place: Place | undefined): string => (place === undefined ? '' : ` (${showPlace(place)})`);

const reasonOf = (because: string): string => because.replace(/^does not match: /, '');

function ofPolicies({ policies, by }: RequestReport): readonly string[] {
  const denial = policies.find(
    (policy) => policy.policy === by && policy.matched && policy.action === 'DENY',
  );
  if (denial !== undefined) {
    if (denial.broken !== undefined)
      return [`correct ${denial.kind} ${denial.policy}${at(denial.place)}: ${denial.broken}`];
    return denial.rules
      .filter(({ matched }) => matched)
      .map(
        ({ rule, place }) => `narrow or remove rule ${rule + 1} of DENY policy ${denial.policy}${at(place)}`,
      );
  }
  return policies
    .filter(({ action, dryRun }) => action === 'ALLOW' && !dryRun)
    .flatMap(({ policy, rules, place, broken }) =>
      broken !== undefined
        ? [`correct AuthorizationPolicy ${policy}${at(place)}: ${broken}`]
        : rules.length === 0
          ? [
              `ALLOW policy ${policy}${at(place)} has no rule, so it allows nothing: give it one for this request`,
            ]
          : rules.map(
              (rule) =>
                `widen rule ${rule.rule + 1} of ${policy}${at(rule.place)}: ${reasonOf(rule.because)}`,
            ),
    );
}

/** Of a request that ends at the waypoint with an error. */
export function requestChanges({ request, outcome, code }: HopReport): readonly string[] {
  if (request === undefined) return [];
  const { authentications, routes, request: asked } = request;
  const assumed =
    asked === undefined || asked.assumed.length === 0
      ? []
      : [
          `or ask for another request: ${asked.assumed.join(', ')} ${asked.assumed.length === 1 ? 'is' : 'are'} assumed`,
        ];
  if (code === 'HTTP_401')
    return [
      `a token of the issuer ${[...new Set(authentications.flatMap(({ issuers }) => issuers))].join(' or ')}, or none`,
    ];
  if (
    outcome === undefined &&
    code === 'HTTP_403' &&
    authentications.length > 0 &&
    request.by === undefined
  ) {
    const audience = request.reason.startsWith('Audiences');
    if (audience) return ['a token with an audience that a rule takes'];
  }
  if (outcome === undefined) return [...ofPolicies(request), ...assumed];
  if (code === 'HTTP_404')
    return [
      `a rule that takes the request, or one without matches, in ${routes.map(({ route, place }) => `${route}${at(place)}`).join(' or ')}`,
      ...assumed,
    ];
  const taken = routes.flatMap(({ route, rules }) =>
    rules.filter((rule) => rule.taken).map((rule) => `rule ${rule.rule + 1} of ${route}${at(rule.place)}`),
  );
  if (code === 'NO_HEALTHY_UPSTREAM')
    return ['a ready pod behind the destination, with the labels of the subset if it names one'];
  if (request.protocol === 'tcp' && taken.length === 0)
    return ['a route that takes the connection, or the name of a server that one is for (--host)'];
  return taken.length === 0 ? assumed : [`correct ${taken.join(', ')}`, ...assumed];
}

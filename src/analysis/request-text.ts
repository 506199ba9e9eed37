// What a waypoint does with a request, as a person reads it: in the order in which the waypoint goes through it.
import { showPlace, type Place } from './document.ts';
import type { RequestOutcome, RequestReport } from './request-report.ts';
import type { RouteReport } from './request-routes.ts';

const place = (at: Place | undefined): string => (at?.file === undefined ? '' : `  (${showPlace(at)})`);

export const percent = (share: number): string => `${Math.round(share * 1000) / 10}%`;

function requestLine({ request, protocolBecause }: RequestReport): string[] {
  if (request === undefined) return [`connection, not HTTP: ${protocolBecause}`];
  const { method, path, query, host, headers, grpc, assumed } = request;
  const sent = headers.map(({ name, value }) => `${name}: ${value}`).join(', ');
  return [
    `request: ${grpc ? 'gRPC ' : ''}${method} ${path}${query === undefined ? '' : `?${query}`} for ${host}${sent === '' ? '' : `, ${sent}`}`,
    ...(assumed.length === 0
      ? []
      : [`  assumed: ${assumed.join(', ')}; say another with --method, --path, --host, -H`]),
    `  ${protocolBecause}`,
  ];
}

function policyLines({ policies, unaskedPolicies, asks }: RequestReport): string[] {
  const lines = [
    policies.length === 0
      ? 'no policy of the waypoint applies'
      : 'policies of the waypoint, in the order in which they are asked:',
  ];
  for (const policy of policies) {
    const { matched, action, policy: name, kind, dryRun, provider, rules, because, broken } = policy;
    const what = kind === 'AuthorizationPolicy' ? name : `${kind} ${name}`;
    const asked = provider === undefined ? '' : `, by provider ${provider}`;
    lines.push(
      `${matched ? '*' : ' '} ${action.padEnd(6)} ${what}${dryRun ? ' (dry run)' : ''}${asked}: ${matched ? 'matches' : 'does not match'}${place(policy.place)}`,
    );
    if (broken !== undefined) lines.push(`         it cannot be used as it is written: ${broken}`);
    else if (rules.length === 0) lines.push(`         ${because}`);
    else
      for (const rule of rules)
        lines.push(`         rule ${rule.rule + 1} ${rule.because}${place(rule.place)}`);
  }
  for (const { policy, because, place: at } of unaskedPolicies)
    lines.push(`  not asked: ${policy}: ${because}${place(at)}`);
  if (asks.length > 0) lines.push(`  ${asks.join(' and ')} must agree: nobody knows what it says`);
  return lines;
}

function ruleLine(rule: RouteReport['rules'][number], compared: boolean): string {
  const { needs, does, matches, lacks, taken } = rule;
  const wants = needs.length === 0 ? 'every request' : needs.join('; or ');
  const why = taken
    ? ': this one'
    : matches
      ? ': would match, another comes before it'
      : compared && lacks.length > 0
        ? `: not ${lacks.join(', not ')}`
        : '';
  const name = rule.name === undefined ? '' : ` ${rule.name}`;
  return `  ${taken ? '*' : ' '} rule ${rule.rule + 1}${name} (${wants}) ${does}${why}${place(rule.place)}`;
}

function routeLines({ routes, protocol }: RequestReport): string[] {
  if (routes.length === 0) return ['no route: it goes where it is addressed'];
  return [
    'routes:',
    ...routes.flatMap((route) => [
      `  ${route.route}${route.hostnames.length === 0 ? '' : ` for ${route.hostnames.join(', ')}`}${place(route.place)}`,
      ...route.rules.map((rule) => `  ${ruleLine(rule, protocol === 'http')}`),
    ]),
  ];
}

function tokenLines({ authentications, tokenNote }: RequestReport): string[] {
  return [
    ...authentications.map(
      ({ authentication, issuers, because, place: at }) =>
        `RequestAuthentication ${authentication} (${issuers.join(', ')}): ${because}${place(at)}`,
    ),
    ...(tokenNote === undefined ? [] : [tokenNote]),
  ];
}

/** All that does not depend on the destination. */
export function requestLines(report: RequestReport): string[] {
  const { applied, faults, outcomes } = report;
  const lines = [
    ...requestLine(report),
    ...tokenLines(report),
    ...policyLines(report),
    ...applied.map(
      ({ kind, name, does, place: at }) =>
        `${kind} ${name}${does.length === 0 ? '' : `: ${does.join('; ')}`}${place(at)}`,
    ),
    ...faults.map((fault) => `fault: ${fault}`),
    ...routeLines(report),
  ];
  if (outcomes.length > 1) {
    lines.push('it goes:');
    for (const { share, destination, kind, status } of outcomes)
      lines.push(
        `  ${percent(share)} ${destination === undefined ? `${kind} ${status ?? ''}`.trimEnd() : `to ${destination}`}`,
      );
  }
  return lines;
}

/** What happens on the way that this path takes. */
export function outcomeLines({ kind, destination, share, does, because }: RequestOutcome): string[] {
  const part = share === 1 ? '' : `, ${percent(share)} of the requests`;
  const details = because.filter((step) => step.startsWith('response code details'));
  const head =
    kind === 'forward'
      ? [`to ${destination ?? 'the workload that was addressed'}${part}`]
      : details.map((step) => `${step}${part}`);
  return [...head, ...does.map((text) => `  ${text}`)];
}

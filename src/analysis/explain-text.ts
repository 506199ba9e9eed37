// An explanation as a person reads it: the verdict first, then each hop with its reasons, then what to do.
import { showPlace, type Place } from './document.ts';
import type { FieldReport, PolicyReport } from './explain-policies.ts';
import type { ConnectionExplanation, HopReport, PathReport } from './explain-report.ts';
import type { PartyReport } from './explain-party.ts';
import { outcomeLines, percent, requestLines } from './request-text.ts';

const securityText = {
  mtls: 'under mutual TLS',
  plain: 'in plain text',
  partly: 'partly in plain text',
} as const;

const place = (at: Place | undefined): string => (at?.file === undefined ? '' : `  (${showPlace(at)})`);

function party(
  title: string,
  { title: name, addresses, node, identity, because, place: at }: PartyReport,
): string[] {
  const where = [
    ...(addresses.length === 0 ? [] : [addresses.join(', ')]),
    ...(node === undefined ? [] : [`node ${node}`]),
  ];
  const lines = [`${title}${name}${where.length === 0 ? '' : `  ${where.join('  ')}`}${place(at)}`];
  const indent = ' '.repeat(title.length);
  if (identity !== undefined) lines.push(`${indent}${identity}`);
  lines.push(`${indent}${because}`);
  return lines;
}

function decision(hop: HopReport): string {
  switch (hop.decision) {
    case 'direct':
      return `connects by itself to ${hop.nextHop}, in plain text`;
    case 'passthrough':
      return `ztunnel passes it on to ${hop.nextHop}, in plain text`;
    case 'hbone':
      return `HBONE to ${hop.nextHop}, for ${hop.authority}`;
    case 'double-hbone':
      return `HBONE in HBONE, by the gateway at ${hop.nextHop}, for ${hop.authority}`;
    case 'deliver':
      return `delivered to the application at ${hop.nextHop}`;
    case 'terminate':
      return 'ends here: a proxy of its own takes over';
    case 'uncaptured':
      return `the application at ${hop.nextHop} takes it, nobody checks it`;
    case 'respond':
      return hop.reason ?? 'the waypoint answers';
    case 'reject':
      return `REFUSED${hop.code === undefined ? '' : ` ${hop.code}`}: ${hop.reason}`;
  }
}

function policyLines(policy: PolicyReport): string[] {
  const mark = policy.matched ? '*' : ' ';
  const dry = policy.dryRun ? ', dry run' : '';
  const kind = policy.kind === 'PeerAuthentication' ? 'PeerAuthentication ' : '';
  const name =
    policy.kind === 'PeerAuthentication' && policy.place !== undefined
      ? `${policy.place.namespace}/${policy.place.name}`
      : policy.policy;
  const lines = [
    `${mark} ${policy.action.padEnd(5)} ${kind}${name} (${policy.scope}${dry}): ${policy.matched ? 'matches' : 'does not match'}${place(policy.place)}`,
  ];
  if (policy.rules.length === 0)
    lines.push('        it has no rules that ztunnel can check: it matches nothing');
  policy.rules.forEach((rule, i) => {
    const number = policy.kind === 'PeerAuthentication' ? '' : `rule ${(rule.rule ?? i) + 1} `;
    const shown = (fields: readonly FieldReport[], joint: string): string =>
      fields.map(({ field, wanted, got }) => `${field} [${wanted.join(', ')}]${joint}${got}`).join('; ');
    const because = rule.matched
      ? `matches: ${rule.held.length === 0 ? 'it takes everything' : shown(rule.held, ' and the connection has ')}`
      : rule.failed.length > 0
        ? `does not match: ${shown(rule.failed, ', the connection has ')}`
        : rule.because;
    const dropped =
      rule.dropped === undefined ? '' : ` (without ${rule.dropped.join(', ')}, which ztunnel cannot check)`;
    lines.push(`        ${number}${because}${dropped}${place(rule.failed[0]?.place ?? rule.place)}`);
  });
  return lines;
}

function hopLines(hop: HopReport, number: number, told: Set<unknown>): string[] {
  const node = hop.node === undefined ? '' : `, node ${hop.node}`;
  const lines = [`  ${number}. ${hop.at}: ${hop.who}${node}`];
  if (hop.peerIdentity !== undefined) lines.push(`       client is ${hop.peerIdentity}`);
  else if (hop.policies !== undefined) lines.push('       client has no identity: plain text');
  if (hop.request !== undefined) {
    const { request, outcome } = hop;
    if (told.has(request)) lines.push('       - the request is judged as above');
    else
      lines.push(...requestLines(request).map((line) => `       ${/^[ *]/.test(line) ? ' ' : '-'} ${line}`));
    told.add(request);
    if (outcome !== undefined) lines.push(...outcomeLines(outcome).map((line) => `       > ${line}`));
  }
  // The steps of a plan that ends here are those of its outcome.
  for (const reason of hop.outcome?.because === hop.because ? [] : hop.because)
    lines.push(`       - ${reason}`);
  for (const { policy, action, target, attributes } of hop.request === undefined
    ? (hop.requestPolicies ?? [])
    : [])
    lines.push(
      `       - waypoint policy ${action} ${policy} (${target}): decided for each request${attributes.length === 0 ? '' : `, by ${attributes.join(', ')}`}`,
    );
  if (hop.policies !== undefined) {
    lines.push(
      hop.policies.length === 0
        ? '       - no policy applies'
        : '       policies, in the order in which they are asked:',
    );
    for (const policy of hop.policies) lines.push(...policyLines(policy).map((line) => `       ${line}`));
    for (const { policy, because, place: at } of hop.unasked ?? [])
      lines.push(`         not asked: ${policy}: ${because}${place(at)}`);
  }
  const expects = hop.expects ?? [];
  lines.push(`       => ${decision(hop)}`);
  if (expects.length > 0) lines.push(`          where ${expects.join(' or ')} must answer`);
  return lines;
}

function pathLines(path: PathReport, i: number, count: number, told: Set<unknown>): string[] {
  const lines: string[] = [];
  const shown = path.endpoints.slice(0, 3).join(', ');
  const more = path.endpoints.length > 3 ? ` and ${path.endpoints.length - 3} more` : '';
  const waypoint = path.hops.find((hop) => hop.at === 'waypoint');
  const part = path.share === undefined || path.share === 1 ? '' : `, ${percent(path.share)} of the requests`;
  const through = waypoint === undefined || count === 1 ? '' : ` through ${waypoint.who}${part}`;
  if (count > 1 || path.endpoints.length > 1)
    lines.push(
      `Path ${count > 1 ? `${i + 1} of ${count} ` : ''}(${shown}${more}${through}): ${path.verdict}${path.verdict === 'allowed' ? `, ${securityText[path.security]}` : ''}: ${path.reason}`,
    );
  path.hops.forEach((hop, n) => lines.push(...hopLines(hop, n + 1, told)));
  return lines;
}

/** Ends with a line feed. */
export function explanationText(explanation: ConnectionExplanation): string {
  const { source, destination, verdict, paths, changes, differences, assumed } = explanation;
  const [first] = paths;
  const securities = new Set(paths.map(({ security }) => security));
  const security = securities.size === 1 && first !== undefined ? first.security : 'partly';
  const reasons = [...new Set(paths.map(({ reason }) => reason))].join('; or ');
  const head =
    verdict === 'depends'
      ? 'DEPENDS on where it goes: see the paths'
      : `${verdict.toUpperCase()}${verdict === 'allowed' ? `, ${securityText[security]}` : ''}: ${reasons}`;
  const { port, ...end } = destination;
  const lines = [
    head,
    '',
    ...party('from  ', source),
    ...party('to    ', { ...end, title: `${end.title} port ${port}` }),
    '',
  ];
  const told = new Set<unknown>();
  paths.forEach((path, i) => lines.push(...pathLines(path, i, paths.length, told), ''));
  if (explanation.requestNote !== undefined) lines.push(`Note: ${explanation.requestNote}`, '');
  const section = (title: string, list: readonly string[]): void => {
    if (list.length === 0) return;
    lines.push(title, ...list.map((line) => `  - ${line}`), '');
  };
  section('What would change it:', changes);
  section(
    'The live connection may differ:',
    differences.map(({ about, reason }) => `${about}: ${reason}`),
  );
  section('Assumed, since files do not tell:', assumed);
  return `${lines.join('\n').trimEnd()}\n`;
}

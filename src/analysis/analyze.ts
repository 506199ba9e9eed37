// All analyzers over one mesh, and what was wrong with the input itself.
import { keyOf, placeOf, type UnreadablePart } from './document.ts';
import { enrolment } from './analyzers/enrolment.ts';
import { liveStatus } from './analyzers/live-status.ts';
import { networkPolicies } from './analyzers/network-policies.ts';
import { peerAuthentications } from './analyzers/peer-authentications.ts';
import { policies } from './analyzers/policies.ts';
import { policyClients } from './analyzers/policy-clients.ts';
import { routes } from './analyzers/routes.ts';
import { ruleOrder } from './analyzers/rule-order.ts';
import { servicesAndEntries } from './analyzers/services.ts';
import { subsets } from './analyzers/subsets.ts';
import { tokens } from './analyzers/tokens.ts';
import { waypoints } from './analyzers/waypoints.ts';
import { waypointServices } from './analyzers/waypoint-services.ts';
import { providersAndTargets } from './analyzers/providers-and-targets.ts';
import { withoutEffect } from './analyzers/without-effect.ts';
import { gatewayPodOf, type ProxyState } from './explain-differences.ts';
import { string } from './fields.ts';
import { finding, reporter, sorted, type Analyzer, type Finding } from './finding.ts';
import { showPlace } from './document.ts';
import { levels, type Level } from './finding-registry.ts';
import type { MeshModel } from './mesh-model.ts';

const analyzers: readonly Analyzer[] = [
  enrolment,
  waypoints,
  policies,
  policyClients,
  peerAuthentications,
  withoutEffect,
  routes,
  ruleOrder,
  subsets,
  tokens,
  providersAndTargets,
  waypointServices,
  servicesAndEntries,
  networkPolicies,
  liveStatus,
];

export interface AnalysisInput {
  readonly unreadable?: readonly UnreadablePart[];
  /** Kinds that could not be listed, with the reason. */
  readonly missing?: readonly string[];
  /** State of the proxies, if the control plane could be asked. */
  readonly proxies?: readonly ProxyState[];
  /** Only findings on objects of this namespace, and on the namespace itself. */
  readonly namespace?: string;
}

function ofProxies(model: MeshModel, proxies: readonly ProxyState[]): readonly Finding[] {
  const out: Finding[] = [];
  const place = (proxy: string) => {
    const dot = proxy.lastIndexOf('.');
    return { kind: 'Pod', namespace: proxy.slice(dot + 1), name: proxy.slice(0, dot) };
  };
  for (const { proxy, state, error } of proxies)
    if (state === 'rejected')
      out.push(finding('AUR0802', place(proxy), `it has rejected a push: ${error ?? 'no reason given'}`));
    else if (state === 'stale')
      out.push(finding('AUR0803', place(proxy), 'it has not acknowledged the last push'));
  const served = new Set(
    proxies.filter((proxy) => gatewayPodOf(model, proxy) === undefined).map(({ node }) => node),
  );
  const bare = new Set<string>();
  for (const pod of model.all('Pod')) {
    const node = string(pod.object, 'spec', 'nodeName');
    if (model.isCaptured(pod) && string(pod.object, 'status', 'phase') === 'Running' && !served.has(node))
      bare.add(node);
  }
  for (const node of bare)
    out.push(
      finding(
        'AUR0804',
        { kind: 'Node', namespace: '', name: node },
        'it has captured pods, and none of its proxies is connected to the control plane',
      ),
    );
  return out;
}

export function analyze(model: MeshModel, input: AnalysisInput = {}): readonly Finding[] {
  const out: Finding[] = [];
  for (const { file, line, reason } of input.unreadable ?? [])
    out.push(finding('AUR0001', { kind: '', namespace: '', name: '', file, line }, reason));
  for (const reason of input.missing ?? [])
    out.push(finding('AUR0805', { kind: '', namespace: '', name: '' }, reason));
  for (const document of model.duplicates)
    out.push(
      finding('AUR0002', placeOf(document, 'metadata.name'), `${keyOf(document)} is given again later`),
    );
  const report = reporter(out);
  for (const each of analyzers) each(model, report);
  if (input.proxies !== undefined) out.push(...ofProxies(model, input.proxies));
  const { namespace } = input;
  const inside = ({ object: { kind, namespace: own, name } }: Finding): boolean =>
    namespace === undefined ||
    own === namespace ||
    (own === '' && (kind !== 'Namespace' || name === namespace));
  return sorted(out.filter(inside));
}

const words: Readonly<Record<Level, string>> = { error: 'Error', warn: 'Warning', info: 'Info' };

/** Two lines per finding, the way out on the second, and a last line that counts. */
export function analysisText(findings: readonly Finding[], objects: number): string {
  const lines: string[] = [];
  for (const { code, level, object, place, message, fix } of findings) {
    const { kind, namespace, name } = object;
    const what = kind === '' ? '' : ` (${kind} ${namespace === '' ? name : `${namespace}/${name}`})`;
    const where = place.file === undefined ? '' : ` ${showPlace(place)}`;
    lines.push(`${words[level]} [${code}]${what}${where}: ${message}`, `    -> ${fix}`);
  }
  const counts = levels
    .map((level) => [findings.filter((one) => one.level === level).length, level] as const)
    .filter(([count]) => count > 0)
    .map(
      ([count, level]) =>
        `${count} ${level === 'info' ? 'info' : `${level === 'warn' ? 'warning' : level}${count === 1 ? '' : 's'}`}`,
    );
  if (lines.length > 0) lines.push('');
  lines.push(
    counts.length === 0
      ? `no findings in ${objects} objects`
      : `${counts.join(', ')} in ${objects} objects; docs/analyze.md has all codes`,
  );
  return `${lines.join('\n')}\n`;
}

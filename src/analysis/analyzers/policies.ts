// AuthorizationPolicies that do something else than they say.
import { convertRules, selects, type AuthorizationPolicyFacts } from '#/translate/index.ts';
import { serviceKey } from '#/model/index.ts';
import { keyOf, type SourceDocument } from '../document.ts';
import { field, items, labels } from '../fields.ts';
import { some, type Analyzer, type Report } from '../finding.ts';
import { meshConfigHint } from '../mesh-config-hint.ts';
import { attributesOf } from '../waypoint-policies.ts';
import type { MeshModel } from '../mesh-model.ts';
import { targetStatus } from './target-status.ts';

interface Case {
  readonly model: MeshModel;
  readonly facts: AuthorizationPolicyFacts;
  readonly document: SourceDocument;
  readonly report: Report;
}

const httpFields = new Set([
  'hosts',
  'notHosts',
  'methods',
  'notMethods',
  'paths',
  'notPaths',
  'remoteIpBlocks',
  'notRemoteIpBlocks',
  'requestPrincipals',
  'notRequestPrincipals',
]);

/** The pods that a policy without targets is for. */
export function selectedPods(
  model: MeshModel,
  { namespace, selector }: Pick<AuthorizationPolicyFacts, 'namespace' | 'selector'>,
): readonly SourceDocument[] {
  const everywhere = namespace === model.settings.rootNamespace;
  return model
    .all('Pod')
    .filter(
      (pod) =>
        (everywhere || pod.namespace === namespace) &&
        selects(selector, labels(pod.object, 'metadata', 'labels')),
    );
}

/** Where in a rule the first field of these names stands. */
function pathIn(rule: unknown, base: string, wanted: (name: string) => boolean): string {
  for (const [list, group] of [
    ['from', 'source'],
    ['to', 'operation'],
  ] as const)
    for (const [i, item] of items(rule, list).entries())
      for (const name of Object.keys((field(item, group) as object | undefined) ?? {}))
        if (wanted(name)) return `${base}.${list}[${i}].${group}.${name}`;
  for (const [i, item] of items(rule, 'when').entries())
    if (wanted(String(field(item, 'key')))) return `${base}.when[${i}].key`;
  return base;
}

function rules({ model, facts, document, report }: Case): void {
  const action = facts.action === 'DENY' ? ('Deny' as const) : ('Allow' as const);
  const { upstreamCompat } = model.settings;
  facts.rules.forEach((rule, i) => {
    const converted = convertRules([rule], { action, namespace: facts.namespace, upstreamCompat });
    const here = (path: string): string => path.replace('spec.rules[0]', `spec.rules[${i}]`);
    for (const { field: path, reason } of converted.bad)
      report('AUR0303', document, here(path), `${here(path)}: ${reason}`);
    for (const { field: path, reason } of converted.notes)
      report(
        reason.includes('spiffe://') ? 'AUR0304' : 'AUR0314',
        document,
        here(path),
        `${here(path)}: ${reason}`,
      );
    if (converted.l7.length === 0) return;
    const path = pathIn(
      rule,
      `spec.rules[${i}]`,
      (name) => httpFields.has(name) || converted.l7.includes(name),
    );
    const found = converted.l7.join(', ');
    const means =
      action === 'Allow'
        ? 'the rule allows nothing'
        : upstreamCompat
          ? 'they are dropped (upstream-compat): a rule of nothing else refuses nothing'
          : 'they are left out: the rule refuses whatever matches the rest';
    report('AUR0301', document, path, `rule ${i + 1} has ${found}, which ztunnel cannot check: ${means}`);
  });
}

function targets({ model, document, report }: Case): void {
  targetStatus(model, document, report);
  for (const { field: path, reason } of model.problems.get(keyOf(document)) ?? []) {
    const code =
      path === 'spec.provider.name'
        ? 'AUR0912'
        : reason.includes('spiffe://')
          ? 'AUR0304'
          : reason.startsWith('never')
            ? 'AUR0314'
            : 'AUR0303';
    report(code, document, path, `${path}: ${reason}${code === 'AUR0912' ? meshConfigHint(model) : ''}`);
  }
}

function selection({ model, facts, document, report }: Case): void {
  const selected = selectedPods(model, facts);
  const named = Object.keys(facts.selector).length > 0;
  const known = model.live || model.all('Pod').some(({ namespace }) => namespace === facts.namespace);
  if (named && selected.length === 0 && known && !selectsEntry(model, facts))
    report(
      'AUR0308',
      document,
      'spec.selector',
      `no pod has ${Object.entries(facts.selector)
        .map(([k, v]) => `${k}=${v}`)
        .join(', ')}`,
    );
  if (!named) return;
  const open = selected.filter(
    (pod) => !model.isCaptured(pod) && model.workloadOf(pod)?.nativeTunnel !== true,
  );
  if (open.length > 0)
    report(
      'AUR0311',
      document,
      'spec.selector',
      `nobody checks it on ${some(open.map(({ name }) => `pod ${name}`))}: not captured`,
    );
}

const selectsEntry = (model: MeshModel, { namespace, selector }: AuthorizationPolicyFacts): boolean =>
  [...model.lookup.all('WorkloadEntry')].some(
    (entry) => entry.namespace === namespace && selects(selector, entry.labels),
  );

/** A rule with the Service's port, where the pods listen on another. */
function portsOf({ model, facts, document, report }: Case): void {
  const pods = selectedPods(model, facts);
  const targeted = new Set<number>();
  const translated = new Map<number, { target: number; service: string }>();
  for (const pod of pods) {
    const workload = model.workloadOf(pod);
    if (workload === undefined) continue;
    for (const service of model.store.servicesOf(workload))
      for (const { servicePort, targetPort } of workload.services[serviceKey(service)] ?? []) {
        targeted.add(targetPort);
        if (targetPort !== servicePort)
          translated.set(servicePort, { target: targetPort, service: service.name });
      }
  }
  const check = (value: unknown, path: string): void => {
    if (!Array.isArray(value)) return;
    value.forEach((one: unknown, i) => {
      const port = Number(one);
      const meant = translated.get(port);
      if (meant !== undefined && !targeted.has(port))
        report(
          'AUR0313',
          document,
          `${path}[${i}]`,
          `port ${port} is that of Service ${meant.service}; its pods listen on ${meant.target}`,
          `write ${meant.target}`,
        );
    });
  };
  facts.rules.forEach((rule, i) => {
    for (const [j, to] of items(rule, 'to').entries())
      for (const name of ['ports', 'notPorts'])
        check(field(to, 'operation', name), `spec.rules[${i}].to[${j}].operation.${name}`);
    for (const [j, when] of items(rule, 'when').entries())
      if (field(when, 'key') === 'destination.port')
        for (const name of ['values', 'notValues'])
          check(field(when, name), `spec.rules[${i}].when[${j}].${name}`);
  });
}

export const policies: Analyzer = (model, report) => {
  for (const document of model.all('AuthorizationPolicy')) {
    const facts = model.lookup.facts('AuthorizationPolicy', `${document.namespace}/${document.name}`);
    if (facts === undefined) continue;
    const one: Case = { model, facts, document, report };
    if (facts.targets.length > 0) {
      targets(one);
      continue;
    }
    if (facts.action !== 'ALLOW' && facts.action !== 'DENY') {
      report(
        'AUR0302',
        document,
        'spec.action',
        `ztunnel does not know the action ${facts.action}: the policy is not enforced`,
      );
      continue;
    }
    if (facts.dryRun && !model.settings.dryRunPolicies) {
      report(
        'AUR0302',
        document,
        'metadata.annotations[istio.io/dry-run]',
        'dry runs are off: the policy is neither enforced nor logged',
        'set AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY=true on the control plane',
      );
      continue;
    }
    rules(one);
    selection(one);
    portsOf(one);
    if (facts.action === 'ALLOW' && facts.rules.length === 0)
      report(
        'AUR0312',
        document,
        'spec',
        'it has no rules: all traffic to what it selects is refused, unless another policy allows it',
      );
    if (facts.action === 'DENY' && facts.rules.length === 0)
      report(
        'AUR0314',
        document,
        'spec',
        'a DENY policy without rules refuses nothing',
        'add a rule; `rules: [{}]` refuses everything',
      );
    if (
      attributesOf(facts.rules).length === 0 &&
      facts.action === 'DENY' &&
      facts.rules.length > 0 &&
      facts.rules.every((rule) => Object.keys(rule as object).length > 0)
    )
      report('AUR0314', document, 'spec.rules', 'its rules name nothing that is compared');
  }
};

// The L7 policies that a waypoint asks, each rule with its reason and its place; and those that it does not ask.
import type { HttpPolicy } from '#/model/index.ts';
import type { ExplainedHttpPolicy } from '#/policy/index.ts';
import { placeOf, type Place } from './document.ts';
import { items } from './fields.ts';
import type { MeshModel } from './mesh-model.ts';
import type { UnaskedPolicy } from './explain-policies.ts';

export interface HttpRuleReport {
  readonly rule: number;
  readonly matched: boolean;
  readonly because: string;
  readonly place?: Place;
}

export interface HttpPolicyReport {
  /** `ns/name` */
  readonly policy: string;
  /** Of the object: another one than AuthorizationPolicy refuses everything until it is corrected. */
  readonly kind: string;
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';
  /** Whom CUSTOM asks. */
  readonly provider?: string;
  readonly dryRun: boolean;
  readonly matched: boolean;
  readonly because: string;
  /** Why it refuses instead of what it says. */
  readonly broken?: string;
  readonly place: Place;
  readonly rules: readonly HttpRuleReport[];
}

const actions = { Allow: 'ALLOW', Deny: 'DENY', Audit: 'AUDIT', Custom: 'CUSTOM' } as const;

/** `demo/jwt (RequestAuthentication)` stands for an object that cannot be read. */
function originOf(name: string): { readonly kind: string; readonly policy: string } {
  const match = /^(\S+) \((\w+)\)$/.exec(name);
  return match === null
    ? { kind: 'AuthorizationPolicy', policy: name }
    : { kind: match[2] ?? '', policy: match[1] ?? '' };
}

export function httpPolicyReport(
  model: MeshModel,
  explained: ExplainedHttpPolicy,
  provider: string | undefined,
): HttpPolicyReport {
  const { kind, policy } = originOf(explained.policy);
  const slash = policy.indexOf('/');
  const namespace = policy.slice(0, slash);
  const name = policy.slice(slash + 1);
  const document = model.document(kind, namespace, name);
  const written = items(document?.object, 'spec', 'rules');
  // Rules that nobody has written stand for a policy that cannot be read.
  const own = kind === 'AuthorizationPolicy' && written.length === explained.rules.length;
  const broken = model.conditions
    .get(`${kind} ${policy}`)
    ?.find(
      ({ reason }) =>
        reason === 'UnsupportedValue' || (reason === 'Invalid' && kind !== 'AuthorizationPolicy'),
    )?.message;
  return {
    policy,
    kind,
    action: actions[explained.action],
    ...(provider === undefined ? {} : { provider }),
    dryRun: explained.dryRun,
    matched: explained.matched,
    because: explained.because,
    ...(broken === undefined ? {} : { broken }),
    place: model.place(kind, namespace, name),
    rules: explained.rules.map(({ matched, because: reason }, i) => ({
      rule: i,
      matched,
      because: reason,
      ...(document === undefined ? {} : { place: placeOf(document, own ? `spec.rules[${i}]` : 'spec') }),
    })),
  };
}

/** Policies with targets, of the namespaces concerned, that are for something else. */
export function unaskedHttp(
  model: MeshModel,
  asked: readonly HttpPolicy[],
  namespaces: readonly string[],
): readonly UnaskedPolicy[] {
  const names = new Set(asked.map(({ name }) => name));
  const out: UnaskedPolicy[] = [];
  for (const { namespace, name, targets } of model.lookup.all('AuthorizationPolicy')) {
    const key = `${namespace}/${name}`;
    if (targets.length === 0 || names.has(key) || !namespaces.includes(namespace)) continue;
    out.push({
      policy: key,
      because: `it is for ${targets.map((target) => `${target.kind} ${target.name}`).join(', ')}`,
      place: model.place('AuthorizationPolicy', namespace, name),
    });
  }
  return out;
}

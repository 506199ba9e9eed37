// AuthorizationPolicy with targetRefs → http-policy. A value that cannot be read voids the policy: ALLOW then allows
// nothing, DENY and CUSTOM refuse everything (decision D8).
import type {
  Either,
  HttpCondition,
  HttpOperation,
  HttpPolicy,
  HttpPolicyRule,
  HttpSource,
} from '#/model/index.ts';
import type { AuthorizationPolicyFacts } from '../authorization-policy.ts';
import { targetCondition } from '../authorization-targets.ts';
import {
  cidrs,
  ports,
  serviceAccounts,
  shown,
  stringMatch,
  stringMatches,
  type Parsed,
} from '../authorization-values.ts';
import type { Lookup } from '../lookup.ts';
import { list, record, text, texts, unknownFields, type Json } from '../read.ts';
import { describeProblems, type Problem, type Translation } from '../translation.ts';
import { attach } from './attachment.ts';
import { providerNames } from './provider-names.ts';
import { recordFor } from './waypoint-record.ts';

const conditionKeys =
  /^(?:source\.(?:ip|namespace|principal|serviceAccount|trustDomain)|remote\.ip|destination\.(?:ip|port)|connection\.sni|request\.auth\.(?:principal|audiences|presenter)|request\.auth\.claims(?:\[[^\][]+\])+|request\.headers\[[^\][]+\])$/;
const addressKeys = ['source.ip', 'remote.ip', 'destination.ip'];

const everything: HttpPolicyRule = { from: [], to: [], when: [] };

type PathMatch = NonNullable<HttpOperation['paths']>['values'][number];

function pathMatches(value: unknown): Parsed<PathMatch> {
  const plain = stringMatches(value);
  if (plain.bad.length > 0) return plain;
  return {
    values: texts(value).map((path): PathMatch => {
      if (path.includes('{*}') || path.includes('{**}')) return { kind: 'template', value: path };
      return stringMatch(path) ?? { kind: 'exact', value: path };
    }),
    bad: [],
  };
}

class PolicyReader {
  readonly bad: Problem[] = [];
  readonly notes: Problem[] = [];
  readonly policy: AuthorizationPolicyFacts;

  constructor(policy: AuthorizationPolicyFacts) {
    this.policy = policy;
  }

  either<T>(
    from: Json,
    name: string,
    field: string,
    parse: (value: unknown) => Parsed<T>,
  ): Either<T> | undefined {
    const not = `not${(name[0] ?? '').toUpperCase()}${name.slice(1)}`;
    const values = this.take(`${field}.${name}`, parse(from[name]));
    const notValues = this.take(`${field}.${not}`, parse(from[not]));
    return values.length + notValues.length === 0 ? undefined : { values, notValues };
  }

  take<T>(field: string, { values, bad }: Parsed<T>): readonly T[] {
    for (const reason of bad) this.bad.push({ field, reason });
    return values;
  }

  check(field: string, value: unknown, known: readonly string[]): void {
    for (const name of unknownFields(value, known))
      this.bad.push({ field: `${field}.${name}`, reason: 'unknown field' });
  }

  /** Principals are written without spiffe://. */
  principals = (value: unknown): ReturnType<typeof stringMatches> => {
    const parsed = stringMatches(value);
    return {
      bad: parsed.bad,
      values: parsed.values.map((match) => {
        if (match.kind === 'presence' || match.kind === 'suffix' || !match.value.startsWith('spiffe://'))
          return match;
        const strip = this.policy.action !== 'ALLOW';
        this.notes.push({
          field: 'spec.rules',
          reason:
            `"${match.value}" begins with spiffe://, which principals are written without; ` +
            (strip ? 'taken as if it were not there' : 'it never matches'),
        });
        return strip ? { ...match, value: match.value.slice('spiffe://'.length) } : match;
      }),
    };
  };

  source(source: Json, field: string): HttpSource {
    const accounts = (value: unknown) => serviceAccounts(value, this.policy.namespace);
    const parts = {
      principals: this.either(source, 'principals', field, this.principals),
      requestPrincipals: this.either(source, 'requestPrincipals', field, stringMatches),
      namespaces: this.either(source, 'namespaces', field, stringMatches),
      serviceAccounts: this.either(source, 'serviceAccounts', field, accounts),
      trustDomains: this.either(source, 'trustDomains', field, stringMatches),
      ipBlocks: this.either(source, 'ipBlocks', field, cidrs),
      remoteIpBlocks: this.either(source, 'remoteIpBlocks', field, cidrs),
    };
    this.check(field, source, withNot(Object.keys(parts)));
    return present(parts);
  }

  operation(operation: Json, field: string): HttpOperation {
    const parts = {
      hosts: this.either(operation, 'hosts', field, stringMatches),
      ports: this.either(operation, 'ports', field, ports),
      methods: this.either(operation, 'methods', field, stringMatches),
      paths: this.either(operation, 'paths', field, pathMatches),
    };
    this.check(field, operation, withNot(Object.keys(parts)));
    return present(parts);
  }

  condition(value: unknown, field: string): HttpCondition {
    const condition = record(value);
    const key = text(condition['key']);
    this.check(field, condition, ['key', 'values', 'notValues']);
    if (!conditionKeys.test(key))
      this.bad.push({ field: `${field}.key`, reason: `${shown(key)} is not a known key` });
    const values = texts(condition['values']);
    const notValues = texts(condition['notValues']);
    if (values.length + notValues.length === 0) this.bad.push({ field, reason: 'has no values' });
    for (const name of ['values', 'notValues']) {
      if (addressKeys.includes(key)) this.take(`${field}.${name}`, cidrs(condition[name]));
      else if (key === 'destination.port') this.take(`${field}.${name}`, ports(condition[name]));
      else this.take(`${field}.${name}`, stringMatches(condition[name]));
    }
    return { key, values, notValues };
  }

  rule(value: unknown, field: string): HttpPolicyRule {
    const rule = record(value);
    this.check(field, rule, ['from', 'to', 'when']);
    return {
      from: list(rule['from']).map((item, i) => {
        this.check(`${field}.from[${i}]`, item, ['source']);
        return this.source(record(record(item)['source']), `${field}.from[${i}].source`);
      }),
      to: list(rule['to']).map((item, i) => {
        this.check(`${field}.to[${i}]`, item, ['operation']);
        return this.operation(record(record(item)['operation']), `${field}.to[${i}].operation`);
      }),
      when: list(rule['when']).map((item, i) => this.condition(item, `${field}.when[${i}]`)),
    };
  }
}

const withNot = (names: readonly string[]): readonly string[] =>
  names.flatMap((name) => [name, `not${(name[0] ?? '').toUpperCase()}${name.slice(1)}`]);

function present<T extends object>(parts: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as never;
}

const actions: Readonly<Record<string, HttpPolicy['action']>> = {
  ALLOW: 'Allow',
  DENY: 'Deny',
  AUDIT: 'Audit',
  CUSTOM: 'Custom',
};

/** Action and rules as they are sent; `refuses` says that the policy stands for a refusal. */
function decide(
  policy: AuthorizationPolicyFacts,
  reader: PolicyReader,
  rules: readonly HttpPolicyRule[],
  lookup: Lookup,
): Pick<HttpPolicy, 'action' | 'provider' | 'rules'> {
  const action = actions[policy.action];
  if (action === undefined) {
    reader.bad.push({ field: 'spec.action', reason: `${shown(policy.action)} is not an action` });
    return { action: 'Deny', rules: [everything] };
  }
  if (reader.bad.length > 0) {
    if (action === 'Allow' || action === 'Audit') return { action, rules: [] };
    return { action: 'Deny', rules: [everything] };
  }
  if (action !== 'Custom') return { action, rules };
  if (!providerNames(lookup.mesh).includes(policy.provider)) {
    reader.bad.push({
      field: 'spec.provider.name',
      reason: `there is no extension provider ${shown(policy.provider)} in MeshConfig`,
    });
    // Nobody can be asked: what the rules match is refused.
    return { action: 'Deny', rules };
  }
  return { action, provider: policy.provider, rules };
}

/** Only for policies with targetRefs. */
export function translateHttpPolicy(policy: AuthorizationPolicyFacts, lookup: Lookup): Translation {
  const reader = new PolicyReader(policy);
  const rules = policy.rules.map((rule, i) => reader.rule(rule, `spec.rules[${i}]`));
  const decided = decide(policy, reader, rules, lookup);
  const { targets, gateways } = attach(policy.targets, policy.namespace, lookup);
  const condition = targetCondition(policy, lookup);
  const broken = reader.bad.length > 0;
  return {
    records: [],
    conditions: [
      broken
        ? {
            ...condition,
            status: false,
            reason: 'UnsupportedValue',
            message: `${describeProblems(reader.bad)}. Until this is corrected, the policy refuses requests to what it is for`,
          }
        : reader.notes.length > 0
          ? { ...condition, message: `${condition.message}. ${describeProblems(reader.notes)}` }
          : condition,
    ],
    problems: [...reader.bad, ...reader.notes],
    waypoint: recordFor(gateways, () => ({
      kind: 'http-policy',
      name: `${policy.namespace}/${policy.name}`,
      targets,
      ...decided,
      // A refusal that stands for a broken policy is meant.
      dryRun: policy.dryRun && !broken,
    })),
  };
}

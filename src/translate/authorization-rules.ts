// The rules of an AuthorizationPolicy as ztunnel can check them: layer 4 alone.
//
// A rule is from AND to AND when; each of `from` and `to` is a list of alternatives. ALLOW: a rule with a layer 7
// attribute is left out. DENY: the attribute is left out, so the rule refuses more; an alternative of which nothing
// remains matches everything, hence the whole list does (upstream sends an empty match, which never matches).
import { emptyMatch, type PolicyClause, type PolicyMatch, type PolicyRule } from '#/model/index.ts';
import {
  cidrs,
  ports,
  serviceAccounts,
  stringMatches,
  trustDomains,
  type Parsed,
} from './authorization-values.ts';
import { list, record, text, unknownFields, type Json } from './read.ts';
import type { Problem } from './translation.ts';

export interface RulesContext {
  readonly action: 'Allow' | 'Deny';
  readonly namespace: string;
  readonly upstreamCompat: boolean;
}

export interface ConvertedRules {
  readonly rules: readonly PolicyRule[];
  /** Names of the layer 7 attributes that were found. */
  readonly l7: readonly string[];
  /** Values that cannot be parsed. Outside of compatibility, they void the policy. */
  readonly bad: readonly Problem[];
  /** What is understood but cannot be checked as it is written. */
  readonly notes: readonly Problem[];
}

/** Alternatives; each is a list of matches that must all hold. Nearly always it is one. */
type Alternatives = readonly (readonly PolicyMatch[])[];

const l7Source = ['remoteIpBlocks', 'notRemoteIpBlocks', 'requestPrincipals', 'notRequestPrincipals'];
const l7Operation = ['hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths'];
const sourceFields = [
  ...l7Source,
  'principals',
  'notPrincipals',
  'namespaces',
  'notNamespaces',
  'ipBlocks',
  'notIpBlocks',
  'serviceAccounts',
  'notServiceAccounts',
  'trustDomains',
  'notTrustDomains',
];
const operationFields = [...l7Operation, 'ports', 'notPorts'];

function isPresent(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== null;
}

function isEmptyMatch(match: PolicyMatch): boolean {
  return Object.values(match).every((values: readonly unknown[]) => values.length === 0);
}

class RuleReader {
  readonly l7 = new Set<string>();
  readonly bad: Problem[] = [];
  readonly notes: Problem[] = [];
  readonly context: RulesContext;
  /** The rule at hand has something that cannot be checked here. */
  incomplete = false;

  constructor(context: RulesContext) {
    this.context = context;
  }

  take<T>(field: string, parsed: Parsed<T>): readonly T[] {
    for (const reason of parsed.bad) this.bad.push({ field, reason });
    return parsed.values;
  }

  foundL7(present: readonly string[]): void {
    for (const name of present) this.l7.add(name);
    if (present.length > 0) this.incomplete = true;
  }

  checkFields(field: string, value: unknown, known: readonly string[]): void {
    if (this.context.upstreamCompat) return;
    for (const name of unknownFields(value, known))
      this.bad.push({ field: `${field}.${name}`, reason: 'unknown field' });
  }

  principals(field: string, value: unknown): ReturnType<typeof stringMatches>['values'] {
    const matches = this.take(field, stringMatches(value));
    return matches.map((match) => {
      if (match.kind === 'presence' || match.kind === 'suffix' || !match.value.startsWith('spiffe://'))
        return match;
      const strip = this.context.action === 'Deny' && !this.context.upstreamCompat;
      this.notes.push({
        field,
        reason:
          `"${match.value}" begins with spiffe://, which principals are written without; ` +
          (strip ? 'taken as if it were not there' : 'it never matches'),
      });
      return strip ? { ...match, value: match.value.slice('spiffe://'.length) } : match;
    });
  }

  source(field: string, source: Json): readonly PolicyMatch[] {
    this.checkFields(field, source, sourceFields);
    this.foundL7(l7Source.filter((name) => isPresent(source[name])));
    const { namespace, upstreamCompat } = this.context;
    const match = {
      ...emptyMatch,
      namespaces: this.take(`${field}.namespaces`, stringMatches(source['namespaces'])),
      notNamespaces: this.take(`${field}.notNamespaces`, stringMatches(source['notNamespaces'])),
      serviceAccounts: this.take(
        `${field}.serviceAccounts`,
        serviceAccounts(source['serviceAccounts'], namespace),
      ),
      notServiceAccounts: this.take(
        `${field}.notServiceAccounts`,
        serviceAccounts(source['notServiceAccounts'], namespace),
      ),
      principals: this.principals(`${field}.principals`, source['principals']),
      notPrincipals: this.principals(`${field}.notPrincipals`, source['notPrincipals']),
      sourceIps: this.take(`${field}.ipBlocks`, cidrs(source['ipBlocks'])),
      notSourceIps: this.take(`${field}.notIpBlocks`, cidrs(source['notIpBlocks'])),
    };
    // Upstream neither converts nor reports trust domains.
    return upstreamCompat ? [match] : this.withTrustDomains(field, source, match);
  }

  withTrustDomains(field: string, source: Json, match: PolicyMatch): readonly PolicyMatch[] {
    const inside = trustDomains(source['trustDomains']);
    const outside = trustDomains(source['notTrustDomains']);
    for (const [name, parsed] of [
      ['trustDomains', inside],
      ['notTrustDomains', outside],
    ] as const) {
      for (const reason of parsed.bad) this.notes.push({ field: `${field}.${name}`, reason });
      if (parsed.bad.length > 0) this.incomplete = true;
    }
    // With a value that cannot be said, the list as a whole is left out: of a DENY, that refuses more.
    const wanted = inside.bad.length > 0 ? [] : inside.values;
    const unwanted = outside.bad.length > 0 ? [] : outside.values;
    const own = { ...match, notPrincipals: [...match.notPrincipals, ...unwanted] };
    if (wanted.length === 0) return [own];
    if (own.principals.length === 0) return [{ ...own, principals: wanted }];
    // Values of one field are alternatives, so that "and" takes a second match.
    return [own, { ...emptyMatch, principals: wanted }];
  }

  operation(field: string, operation: Json): readonly PolicyMatch[] {
    this.checkFields(field, operation, operationFields);
    this.foundL7(l7Operation.filter((name) => isPresent(operation[name])));
    return [
      {
        ...emptyMatch,
        destinationPorts: this.take(`${field}.ports`, ports(operation['ports'])),
        notDestinationPorts: this.take(`${field}.notPorts`, ports(operation['notPorts'])),
      },
    ];
  }

  condition(field: string, condition: Json): readonly PolicyMatch[] {
    this.checkFields(field, condition, ['key', 'values', 'notValues']);
    const { values, notValues } = condition;
    const inside = `${field}.values`;
    const outside = `${field}.notValues`;
    switch (condition['key']) {
      case 'source.ip':
        return [
          {
            ...emptyMatch,
            sourceIps: this.take(inside, cidrs(values)),
            notSourceIps: this.take(outside, cidrs(notValues)),
          },
        ];
      case 'source.namespace':
        return [
          {
            ...emptyMatch,
            namespaces: this.take(inside, stringMatches(values)),
            notNamespaces: this.take(outside, stringMatches(notValues)),
          },
        ];
      case 'source.principal':
        return [
          {
            ...emptyMatch,
            principals: this.principals(inside, values),
            notPrincipals: this.principals(outside, notValues),
          },
        ];
      case 'destination.ip':
        return [
          {
            ...emptyMatch,
            destinationIps: this.take(inside, cidrs(values)),
            notDestinationIps: this.take(outside, cidrs(notValues)),
          },
        ];
      case 'destination.port':
        return [
          {
            ...emptyMatch,
            destinationPorts: this.take(inside, ports(values)),
            notDestinationPorts: this.take(outside, ports(notValues)),
          },
        ];
      default:
        this.foundL7([text(condition['key']) || '(no key)']);
        return [emptyMatch];
    }
  }

  /** Alternatives as clauses of one rule, or of one rule per alternative if an alternative takes several matches. */
  clauses(alternatives: Alternatives): readonly (readonly PolicyClause[])[] {
    if (alternatives.length === 0) return [[]];
    const keepEmpty = this.context.action === 'Allow' || this.context.upstreamCompat;
    if (!keepEmpty && alternatives.some((matches) => matches.every(isEmptyMatch))) return [[]];
    if (alternatives.every((matches) => matches.length === 1))
      return [[{ matches: alternatives.map(([match]) => match as PolicyMatch) }]];
    return alternatives.map((matches) => matches.map((match) => ({ matches: [match] })));
  }

  rule(field: string, value: unknown): readonly PolicyRule[] {
    this.incomplete = false;
    const rule = record(value);
    this.checkFields(field, rule, ['from', 'to', 'when']);
    const to = list(rule['to']).map((item, i) => {
      this.checkFields(`${field}.to[${i}]`, item, ['operation']);
      return this.operation(`${field}.to[${i}].operation`, record(record(item)['operation']));
    });
    const from = list(rule['from']).map((item, i) => {
      this.checkFields(`${field}.from[${i}]`, item, ['source']);
      return this.source(`${field}.from[${i}].source`, record(record(item)['source']));
    });
    const when = list(rule['when']).map((item, i) => this.condition(`${field}.when[${i}]`, record(item)));
    if (this.incomplete && this.context.action === 'Allow') return [];
    const fixed = [...this.clauses(to), ...when.flatMap((matches) => this.clauses([matches]))].flat();
    return this.clauses(from).map((clauses) => ({ clauses: [...clauses, ...fixed] }));
  }
}

export function convertRules(rules: readonly unknown[], context: RulesContext): ConvertedRules {
  const reader = new RuleReader(context);
  const converted = rules.flatMap((rule, i) => reader.rule(`spec.rules[${i}]`, rule));
  return { rules: converted, l7: [...reader.l7].sort(), bad: reader.bad, notes: reader.notes };
}

/** True if some rule can match at all; a clause of empty matches alone never does. */
export function canMatch(rules: readonly PolicyRule[]): boolean {
  return rules.some((rule) =>
    rule.clauses.every(
      ({ matches }) => matches.length === 0 || matches.some((match) => !isEmptyMatch(match)),
    ),
  );
}

// Turns a policy into functions, once, so that judging a connection allocates nothing and tests the cheapest
// field first.
import { cidrContains, type Cidr, type IpBytes } from '#/kit/index.ts';
import {
  policyKey,
  type Policy,
  type PolicyKey,
  type PolicyMatch,
  type ServiceAccountMatch,
  type StringMatch,
} from '#/model/index.ts';
import type { Subject } from './subject.ts';

type Test = (subject: Subject) => boolean;

export interface CompiledPolicy {
  readonly policy: Policy;
  readonly key: PolicyKey;
  matches(subject: Subject): boolean;
}

const never: Test = () => false;
const always: Test = () => true;

// A few values are found faster by walking than by hashing.
const walkLimit = 4;

function any(tests: readonly Test[]): Test {
  const [a, b] = tests;
  if (a === undefined) return never;
  if (b === undefined) return a;
  if (tests.length === 2) return (subject) => a(subject) || b(subject);
  return (subject) => {
    for (const test of tests) if (test(subject)) return true;
    return false;
  };
}

function all(tests: readonly Test[]): Test {
  const [a, b] = tests;
  if (a === undefined) return always;
  if (b === undefined) return a;
  if (tests.length === 2) return (subject) => a(subject) && b(subject);
  return (subject) => {
    for (const test of tests) if (!test(subject)) return false;
    return true;
  };
}

const not =
  (test: Test): Test =>
  (subject) =>
    !test(subject);

/** Whether a text is matched. An empty text is matched by an empty exact value, prefix or suffix, not by presence. */
export function stringMatches(match: StringMatch, text: string): boolean {
  switch (match.kind) {
    case 'exact':
      return text === match.value;
    case 'prefix':
      return text.startsWith(match.value);
    case 'suffix':
      return text.endsWith(match.value);
    case 'presence':
      return text !== '';
  }
}

function compileStrings(matches: readonly StringMatch[]): (text: string) => boolean {
  const exact = matches.flatMap((match) => (match.kind === 'exact' ? [match.value] : []));
  const others = matches.filter((match) => match.kind !== 'exact');
  const known: { has(text: string): boolean } =
    exact.length > walkLimit ? new Set(exact) : { has: (text) => exact.includes(text) };
  if (others.length === 0) return (text) => known.has(text);
  return (text) => known.has(text) || others.some((match) => stringMatches(match, text));
}

function principalTest(matches: readonly StringMatch[]): Test {
  const test = compileStrings(matches);
  return (subject) => {
    const principal = subject.principal;
    return principal !== undefined && test(principal);
  };
}

function namespaceTest(matches: readonly StringMatch[]): Test {
  const test = compileStrings(matches);
  return (subject) => test(subject.namespace);
}

function serviceAccountTest(matches: readonly ServiceAccountMatch[]): Test {
  if (matches.length <= walkLimit)
    return (subject) =>
      subject.principal !== undefined &&
      matches.some(
        (match) => match.serviceAccount === subject.serviceAccount && match.namespace === subject.namespace,
      );
  const known = new Set(matches.map((match) => `${match.namespace}/${match.serviceAccount}`));
  return (subject) =>
    subject.principal !== undefined && known.has(`${subject.namespace}/${subject.serviceAccount}`);
}

function portTest(ports: readonly number[]): Test {
  if (ports.length <= walkLimit) return (subject) => ports.includes(subject.port);
  const known = new Set(ports);
  return (subject) => known.has(subject.port);
}

function ipTest(ranges: readonly Cidr[], bytes: (subject: Subject) => IpBytes): Test {
  return (subject) => {
    const address = bytes(subject);
    for (const range of ranges) if (cidrContains(range, address)) return true;
    return false;
  };
}

const sourceBytes = (subject: Subject): IpBytes => subject.sourceBytes;
const destinationBytes = (subject: Subject): IpBytes => subject.destinationBytes;

/** The fields that restrict, cheapest first. None: the match is empty. */
function fieldTests(match: PolicyMatch): Test[] {
  const tests: Test[] = [];
  const add = <T>(
    wanted: readonly T[],
    refused: readonly T[],
    make: (values: readonly T[]) => Test,
  ): void => {
    if (wanted.length > 0) tests.push(make(wanted));
    if (refused.length > 0) tests.push(not(make(refused)));
  };
  add(match.destinationPorts, match.notDestinationPorts, portTest);
  add(match.principals, match.notPrincipals, principalTest);
  add(match.namespaces, match.notNamespaces, namespaceTest);
  add(match.serviceAccounts, match.notServiceAccounts, serviceAccountTest);
  add(match.sourceIps, match.notSourceIps, (ranges) => ipTest(ranges, sourceBytes));
  add(match.destinationIps, match.notDestinationIps, (ranges) => ipTest(ranges, destinationBytes));
  return tests;
}

/**
 * Compiles a policy. As upstream: no rules match nothing; a rule without clauses and a clause without matches
 * match all; a match without any field matches nothing.
 */
export function compilePolicy(policy: Policy): CompiledPolicy {
  const rules = policy.rules.map((rule) =>
    all(
      rule.clauses.map((clause) => {
        if (clause.matches.length === 0) return always;
        return any(
          clause.matches.map((match) => {
            const tests = fieldTests(match);
            return tests.length === 0 ? never : all(tests);
          }),
        );
      }),
    ),
  );
  return { policy, key: policyKey(policy), matches: any(rules) };
}

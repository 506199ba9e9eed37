import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { emptyMatch, type Policy, type PolicyMatch } from '#/model/index.ts';
import { decodePolicy, encodePolicy } from './policy.ts';
import { WireError } from './wire-error.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const wrap = (tag: string, hex: string): string =>
  `${tag} ${bytes(hex).length.toString(16).padStart(2, '0')} ${hex}`;

const name = '0a 01 70 12 01 6e';
/** A policy with one rule of one clause of one match. */
const withMatch = (hex: string): Buffer => bytes(`${name} ${wrap('2a', wrap('0a', wrap('12', hex)))}`);

const bare: Policy = {
  name: 'p',
  namespace: 'n',
  scope: 'Global',
  action: 'Allow',
  rules: [],
  dryRun: false,
};
const cidr = (base: number[], length: number) => ({ base: Uint8Array.from(base), length });
const range = '0a 04 0a 01 02 03 10 10';
const rangeModel = [cidr([10, 1, 0, 0], 16)];
const account = '0a 01 6e 12 01 73';
const accountModel = [{ namespace: 'n', serviceAccount: 's' }];

suite('a policy', () => {
  const fields: readonly [field: string, hex: string, Partial<Policy>][] = [
    ['nothing but a name', '', {}],
    ['scope 3', '18 02', { scope: 'WorkloadSelector' }],
    ['scope 3, namespace', '18 01', { scope: 'Namespace' }],
    ['action 4', '20 01', { action: 'Deny' }],
    ['rules 5, an empty one', '2a 00', { rules: [{ clauses: [] }] }],
    ['clauses 1, an empty one', '2a 02 0a 00', { rules: [{ clauses: [{ matches: [] }] }] }],
    ['matches 2, an empty one', '2a 04 0a 02 12 00', { rules: [{ clauses: [{ matches: [emptyMatch] }] }] }],
    ['dry_run 6', '30 01', { dryRun: true }],
    ['extensions 7, not read', '3a 03 0a 01 65', {}],
    ['a field of the future', 'f8 3e 01', {}],
  ];
  for (const [field, hex, expected] of fields)
    test(`has ${field} in its place`, () => {
      const decoded = decodePolicy(bytes(`${name} ${hex}`));
      assert.deepEqual(decoded, { ...bare, ...expected });
      assert.deepEqual(decodePolicy(encodePolicy(decoded)), decoded);
    });
});

suite('a match', () => {
  const fields: readonly [field: string, hex: string, Partial<PolicyMatch>][] = [
    ['namespaces 1, exact 1', '0a 03 0a 01 61', { namespaces: [{ kind: 'exact', value: 'a' }] }],
    ['not_namespaces 2, prefix 2', '12 03 12 01 61', { notNamespaces: [{ kind: 'prefix', value: 'a' }] }],
    ['principals 3, suffix 3', '1a 03 1a 01 61', { principals: [{ kind: 'suffix', value: 'a' }] }],
    ['not_principals 4, presence 4', '22 02 22 00', { notPrincipals: [{ kind: 'presence' }] }],
    ['an exact match of nothing', '0a 02 0a 00', { namespaces: [{ kind: 'exact', value: '' }] }],
    ['source_ips 5', wrap('2a', range), { sourceIps: rangeModel }],
    ['not_source_ips 6', wrap('32', range), { notSourceIps: rangeModel }],
    ['destination_ips 7', wrap('3a', range), { destinationIps: rangeModel }],
    ['not_destination_ips 8', wrap('42', range), { notDestinationIps: rangeModel }],
    ['a range of every address', '2a 06 0a 04 00 00 00 00', { sourceIps: [cidr([0, 0, 0, 0], 0)] }],
    ['destination_ports 9', '4a 03 50 bb 03', { destinationPorts: [80, 443] }],
    ['destination_ports 9, not packed', '48 50 48 00', { destinationPorts: [80, 0] }],
    ['not_destination_ports 10', '52 03 ff ff 03', { notDestinationPorts: [65535] }],
    ['service_accounts 11', wrap('5a', account), { serviceAccounts: accountModel }],
    ['not_service_accounts 12', wrap('62', account), { notServiceAccounts: accountModel }],
    ['extensions 13, not read', '6a 03 0a 01 65', {}],
  ];
  for (const [field, hex, expected] of fields)
    test(`has ${field} in its place`, () => {
      const decoded = decodePolicy(withMatch(hex));
      const match = { ...emptyMatch, ...expected };
      assert.deepEqual(decoded, { ...bare, rules: [{ clauses: [{ matches: [match] }] }] });
      assert.deepEqual(decodePolicy(encodePolicy(decoded)), decoded);
    });
});

suite('refused rather than dropped, with the name of the policy and the field:', () => {
  const in1 = 'rules\\[0\\]\\.clauses\\[0\\]\\.matches\\[0\\]\\.';
  const cases: readonly [what: string, Buffer, resource: string, detail: string][] = [
    ['bytes that are no protobuf', bytes('0a ff'), '', '^not a istio\\.security\\.Authorization: '],
    ['no name', bytes('12 01 6e'), 'n/', '^name: is empty$'],
    ['an unknown scope', bytes(`${name} 18 03`), 'n/p', '^scope: unknown value 3$'],
    ['an unknown action', bytes(`${name} 20 02`), 'n/p', '^action: unknown value 2$'],
    ['a string match without a kind', withMatch('0a 00'), 'n/p', `^${in1}namespaces\\[0\\]: the match has no kind`],
    ['a kind of string match of the future', withMatch('22 03 2a 01 61'), 'n/p', `^${in1}notPrincipals\\[0\\]: the`],
    ['a range of 3 bytes', withMatch('2a 05 0a 03 0a 00 00'), 'n/p', `^${in1}sourceIps\\[0\\]\\.address: .* not 3$`],
    ['a range of no bytes', withMatch('32 02 10 08'), 'n/p', `^${in1}notSourceIps\\[0\\]\\.address: .* not 0$`],
    ['a prefix longer than the address', withMatch('3a 08 0a 04 0a 00 00 00 10 21'), 'n/p', `^${in1}destinationIps\\[0\\]\\.length: prefix length 33`],
    ['a port of 65536', withMatch('48 50 48 80 80 04'), 'n/p', `^${in1}destinationPorts\\[1\\]: port 65536 is greater`],
    ['a negated port of 65536', withMatch('50 80 80 04'), 'n/p', `^${in1}notDestinationPorts\\[0\\]: port 65536`],
    ['an account without a name', withMatch('5a 03 0a 01 6e'), 'n/p', `^${in1}serviceAccounts\\[0\\]\\.serviceAccount: is empty$`],
  ]; // prettier-ignore
  for (const [what, input, resource, detail] of cases)
    test(what, () => {
      assert.throws(
        () => decodePolicy(input),
        (error: unknown) => {
          assert.ok(error instanceof WireError, String(error));
          assert.equal(error.resource, resource);
          assert.match(error.detail, new RegExp(detail));
          return true;
        },
      );
    });
});

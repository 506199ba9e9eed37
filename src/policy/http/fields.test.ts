// Every field, by table: a rule of one field, a request, and whether the rule matches.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCidr, type Cidr } from '#/kit/index.ts';
import type { HttpOperation, HttpPolicyRule, HttpSource, StringMatch } from '#/model/index.ts';
import { compileHttpPolicies, decideHttp } from './index.ts';
import { parseMatch } from './field.ts';
import { policyOf, subjectOf, token, type SubjectChanges } from './test-subject.ts';

type Row = readonly [string, Partial<HttpPolicyRule>, boolean, SubjectChanges?];

const text = (...texts: string[]) => ({
  values: texts.map((value) => parseMatch(value) as StringMatch),
  notValues: [],
});
const no = <T>(either: { readonly values: readonly T[] }) => ({ values: [], notValues: either.values });
const range = (...texts: string[]) => ({
  values: texts.map((value) => parseCidr(value) as Cidr),
  notValues: [],
});
const from = (source: HttpSource): Partial<HttpPolicyRule> => ({ from: [source] });
const to = (operation: HttpOperation): Partial<HttpPolicyRule> => ({ to: [operation] });
const when = (key: string, ...values: string[]): Partial<HttpPolicyRule> => ({
  when: [{ key, values, notValues: [] }],
});
const whenNot = (key: string, ...notValues: string[]): Partial<HttpPolicyRule> => ({
  when: [{ key, values: [], notValues }],
});
const template = (value: string) => to({ paths: { values: [{ kind: 'template', value }], notValues: [] } });
const anonymous = { connection: { identity: undefined } };
const own = { namespace: 'front', serviceAccount: 'web' };

const rows: readonly Row[] = [
  ['a rule without fields', {}, true],
  ['principal, exact', from({ principals: text('td/ns/front/sa/web') }), true],
  ['principal, another', from({ principals: text('td/ns/front/sa/other') }), false],
  ['principal with the scheme', from({ principals: text('spiffe://td/ns/front/sa/web') }), true],
  ['principal, prefix', from({ principals: text('td/ns/front/*') }), true],
  ['principal, prefix with the scheme', from({ principals: text('spiffe://td/ns/*') }), true],
  ['principal, suffix', from({ principals: text('*/sa/web') }), true],
  ['principal, presence', from({ principals: text('*') }), true],
  ['principal, presence, nobody', from({ principals: text('*') }), false, anonymous],
  ['principal, one of many', from({ principals: text('a', 'b', 'c', 'd', 'td/ns/front/sa/web') }), true],
  ['cluster.local is the mesh', from({ principals: text('cluster.local/ns/front/sa/web') }), true],
  ['an alias is the mesh', from({ principals: text('old/ns/front/sa/web') }), true],
  ['a foreign trust domain is not', from({ principals: text('foreign/ns/front/sa/web') }), false],
  ['notPrincipals', from({ principals: no(text('td/ns/front/sa/web')) }), false],
  ['notPrincipals, nobody', from({ principals: no(text('*')) }), true, anonymous],
  ['namespace', from({ namespaces: text('front') }), true],
  ['namespace, prefix', from({ namespaces: text('fr*') }), true],
  ['namespace, another', from({ namespaces: text('fron') }), false],
  ['namespace, nobody', from({ namespaces: text('*') }), false, anonymous],
  ['notNamespaces', from({ namespaces: no(text('front')) }), false],
  ['serviceAccount', from({ serviceAccounts: { values: [own], notValues: [] } }), true],
  [
    'serviceAccount, another',
    from({ serviceAccounts: { values: [{ ...own, namespace: 'x' }], notValues: [] } }),
    false,
  ],
  ['notServiceAccounts', from({ serviceAccounts: { values: [], notValues: [own] } }), false],
  ['trustDomain', from({ trustDomains: text('td') }), true],
  ['trustDomain, alias', from({ trustDomains: text('old') }), true],
  ['trustDomain, foreign', from({ trustDomains: text('foreign') }), false],
  ['trustDomain, prefix', from({ trustDomains: text('t*') }), true],
  ['notTrustDomains', from({ trustDomains: no(text('td')) }), false],
  ['ipBlocks', from({ ipBlocks: range('10.1.0.0/16') }), true],
  ['ipBlocks, another', from({ ipBlocks: range('10.2.0.0/16', 'fd00::/8') }), false],
  ['notIpBlocks', from({ ipBlocks: no(range('10.1.2.3')) }), false],
  ['ipBlocks is not the remote address', from({ ipBlocks: range('192.0.2.0/24') }), false],
  ['remoteIpBlocks', from({ remoteIpBlocks: range('192.0.2.0/24') }), true],
  [
    'remoteIpBlocks, IPv6',
    from({ remoteIpBlocks: range('2001:db8::/32') }),
    true,
    { remoteIp: '2001:db8::1' },
  ],
  ['notRemoteIpBlocks', from({ remoteIpBlocks: no(range('192.0.2.7')) }), false],
  [
    'requestPrincipal',
    from({ requestPrincipals: text('https://issuer.example/realm/alice') }),
    true,
    { token: token() },
  ],
  ['requestPrincipal, no token', from({ requestPrincipals: text('*') }), false],
  ['requestPrincipal, presence', from({ requestPrincipals: text('*') }), true, { token: token() }],
  [
    'requestPrincipal, no subject',
    from({ requestPrincipals: text('*') }),
    false,
    { token: { ...token(), subject: '' } },
  ],
  [
    'requestPrincipal, issuer/*',
    from({ requestPrincipals: text('https://issuer.example/realm/*') }),
    true,
    { token: token() },
  ],
  [
    'requestPrincipal, prefix of an issuer',
    from({ requestPrincipals: text('https:*') }),
    true,
    { token: token() },
  ],
  ['requestPrincipal, */subject', from({ requestPrincipals: text('*/alice') }), true, { token: token() }],
  ['requestPrincipal, *subject', from({ requestPrincipals: text('*ice') }), true, { token: token() }],
  [
    'requestPrincipal, *issuer/subject',
    from({ requestPrincipals: text('*realm/alice') }),
    true,
    { token: token() },
  ],
  [
    'requestPrincipal, another split of the same text',
    from({ requestPrincipals: text('https://issuer.example/realm/alice') }),
    false,
    { token: { issuer: 'https://issuer.example', subject: 'realm/alice', claims: {} } },
  ],
  ['notRequestPrincipals', from({ requestPrincipals: no(text('*')) }), true],
  ['hosts', to({ hosts: text('shop.example') }), true],
  ['hosts, without regard to case', to({ hosts: text('SHOP.Example') }), true],
  ['hosts, with the port', to({ hosts: text('shop.example:8080') }), true],
  ['hosts, any port', to({ hosts: text('shop.example:*') }), true],
  [
    'hosts, any port, none sent',
    to({ hosts: text('shop.example:*') }),
    false,
    { request: { authority: 'shop.example' } },
  ],
  ['hosts, another port', to({ hosts: text('shop.example:80') }), false],
  ['hosts, suffix', to({ hosts: text('*.example') }), true],
  ['hosts, prefix', to({ hosts: text('shop.*') }), true],
  ['hosts, IPv6', to({ hosts: text('[fd00::1]') }), true, { request: { authority: '[fd00::1]:80' } }],
  ['notHosts, a port does not lead past it', to({ hosts: no(text('shop.example')) }), false],
  ['ports', to({ ports: { values: [80], notValues: [] } }), true],
  ['ports, another', to({ ports: { values: [8080], notValues: [] } }), false],
  ['notPorts', to({ ports: { values: [], notValues: [80] } }), false],
  ['methods', to({ methods: text('GET', 'HEAD') }), true],
  ['methods, case counts', to({ methods: text('get') }), false],
  ['methods, suffix', to({ methods: text('*ET') }), true],
  ['notMethods', to({ methods: no(text('GET')) }), false],
  ['paths, exact', to({ paths: text('/api/items/7') }), true],
  ['paths, without the query', to({ paths: text('/api/items/7?a=1') }), false],
  ['paths, case counts', to({ paths: text('/API/*') }), false],
  ['paths, prefix', to({ paths: text('/api/*') }), true],
  ['paths, suffix', to({ paths: text('*/7') }), true],
  ['paths, presence', to({ paths: text('*') }), true],
  ['notPaths', to({ paths: no(text('/api*')) }), false],
  [
    'paths, gRPC',
    to({ paths: text('/pkg.Svc/Get') }),
    true,
    { request: { path: '/pkg.Svc/Get', method: 'POST', grpc: true } },
  ],
  ['template {*}', template('/api/{*}/7'), true],
  ['template {*} is one element', template('/api/{*}'), false],
  ['template {*} is not empty', template('/api/{*}'), false, { request: { path: '/api/' } }],
  ['template {**}', template('/api/{**}'), true],
  ['template {**} takes none', template('/api/{**}'), true, { request: { path: '/api/' } }],
  ['template {**} keeps the slash', template('/api/{**}'), false, { request: { path: '/api' } }],
  ['template {**} with an end', template('/{**}/7'), true],
  [
    'template {**} with no element and an end',
    template('/api/{**}/items'),
    true,
    { request: { path: '/api/items' } },
  ],
  ['template of both', template('/{*}/{**}'), true],
  ['template, another end', template('/api/{**}/8'), false],
  ['header', when('request.headers[x-token]', 'secret-1'), true],
  ['header, name in any case', when('request.headers[X-Token]', 'secret-1'), true],
  ['header, prefix', when('request.headers[x-token]', 'secret-*'), true],
  ['header, suffix', when('request.headers[x-token]', '*-1'), true],
  ['header, presence', when('request.headers[x-token]', '*'), true],
  ['header, present and empty', when('request.headers[x-empty]', '*'), true],
  [
    'header, not ASCII',
    when('request.headers[x-name]', 'Zoë'),
    true,
    { headers: { 'x-name': Buffer.from('Zoë').toString('latin1') } },
  ],
  ['header, missing', when('request.headers[x-none]', '*'), false],
  ['header, not', whenNot('request.headers[x-none]', '*'), true],
  ['header, not, present', whenNot('request.headers[x-token]', 'secret-1', 'secret-2'), false],
  ['header :path', when('request.headers[:path]', '/api/items/7?a=1'), true],
  ['header :method', when('request.headers[:method]', 'GET'), true],
  ['header host', when('request.headers[host]', 'shop.example:8080'), true],
  ['source.ip', when('source.ip', '10.1.2.3', '::1'), true],
  ['source.ip, not', whenNot('source.ip', '10.0.0.0/8'), false],
  ['remote.ip', when('remote.ip', '192.0.2.0/24'), true],
  ['source.namespace', when('source.namespace', 'front'), true],
  ['source.serviceAccount, own namespace', when('source.serviceAccount', 'web'), false],
  ['source.serviceAccount', when('source.serviceAccount', 'front/web'), true],
  ['source.trustDomain', when('source.trustDomain', 'td'), true],
  ['source.principal', when('source.principal', 'td/ns/front/sa/web'), true],
  ['request.auth.principal', when('request.auth.principal', '*/alice'), true, { token: token() }],
  ['request.auth.audiences, text', when('request.auth.audiences', 'a'), true, { token: token({ aud: 'a' }) }],
  [
    'request.auth.audiences, list',
    when('request.auth.audiences', 'b'),
    true,
    { token: token({ aud: ['a', 'b'] }) },
  ],
  ['request.auth.audiences, none', when('request.auth.audiences', 'b'), false, { token: token() }],
  ['request.auth.presenter', when('request.auth.presenter', 'app'), true, { token: token({ azp: 'app' }) }],
  ['claim', when('request.auth.claims[group]', 'admin'), true, { token: token({ group: 'admin' }) }],
  [
    'claim, list',
    when('request.auth.claims[group]', 'adm*'),
    true,
    { token: token({ group: ['user', 'admin'] }) },
  ],
  ['claim, nested', when('request.auth.claims[a][b]', 'x'), true, { token: token({ a: { b: ['x'] } }) }],
  ['claim, not an object', when('request.auth.claims[a][b]', 'x'), false, { token: token({ a: 'x' }) }],
  [
    'claim, a URL as its name',
    when('request.auth.claims[https://x.y/z]', 'x'),
    true,
    { token: token({ 'https://x.y/z': 'x' }) },
  ],
  ['claim, a number is no text', when('request.auth.claims[n]', '1'), false, { token: token({ n: 1 }) }],
  [
    'claim, inherited names are none',
    when('request.auth.claims[constructor][name]', '*'),
    false,
    { token: token() },
  ],
  ['claim, not', whenNot('request.auth.claims[group]', 'admin'), true],
  ['destination.ip', when('destination.ip', '10.9.0.0/16'), true],
  ['destination.port', when('destination.port', '80', '443'), true],
  ['destination.port, not', whenNot('destination.port', '80'), false],
  ['connection.sni', when('connection.sni', '*.example'), true],
  ['connection.sni, none', when('connection.sni', '*'), false, { connection: { sni: undefined } }],
  [
    'from and to and when',
    {
      ...from({ namespaces: text('front') }),
      ...to({ methods: text('GET') }),
      ...when('destination.port', '80'),
    },
    true,
  ],
  [
    'one of the three fails',
    {
      ...from({ namespaces: text('front') }),
      ...to({ methods: text('PUT') }),
      ...when('destination.port', '80'),
    },
    false,
  ],
  ['alternatives of from', { from: [{ namespaces: text('x') }, { namespaces: text('front') }] }, true],
  ['fields of one source AND', from({ namespaces: text('front'), principals: text('x') }), false],
  [
    'values and notValues AND',
    to({ paths: { values: text('/api/*').values, notValues: text('*/7').values } }),
    false,
  ],
  [
    'conditions AND',
    { when: [...(when('source.ip', '10.1.2.3').when ?? []), ...(when('destination.port', '1').when ?? [])] },
    false,
  ],
];

for (const [name, rule, matches, changes] of rows)
  test(`${name}: ${matches ? 'matches' : 'does not match'}`, () => {
    const subject = subjectOf(changes);
    const options = { trustDomains: ['td', 'old'] };
    const allow = compileHttpPolicies([policyOf('Allow', [rule])], options);
    const deny = compileHttpPolicies([policyOf('Deny', [rule])], options);
    assert.deepEqual([allow.problems, deny.problems], [[], []]);
    assert.equal(decideHttp(allow, subject).allow, matches);
    assert.equal(decideHttp(deny, subject).allow, !matches);
  });

test('a policy in the namespace of the caller means its own service accounts', () => {
  const policy = policyOf('Allow', [when('source.serviceAccount', 'web')], { name: 'front/p' });
  assert.equal(decideHttp(compileHttpPolicies([policy]), subjectOf()).allow, true);
});

test('an address that is none lies in no range', () => {
  const policy = policyOf('Allow', [from({ remoteIpBlocks: range('0.0.0.0/0', '::/0') })]);
  assert.equal(decideHttp(compileHttpPolicies([policy]), subjectOf({ remoteIp: 'x' })).allow, false);
});

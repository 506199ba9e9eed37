import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { exportSPKI, importJWK, type CryptoKey } from 'jose';
import type { RequestFacts } from '#/model/index.ts';
import type { AuthResult } from './authenticator.ts';
import {
  authenticationOf,
  bearer,
  issuer,
  keySet,
  makeKey,
  requestOf,
  ruleOf,
  setUp,
  shown,
  sign,
  start,
} from './test-issuer.ts';

const now = Math.floor(start / 1000);
const [one, other, curve, edwards, pss, anonymous] = await Promise.all([
  makeKey('one'),
  makeKey('one'),
  makeKey('curve', 'ES256'),
  makeKey('edwards', 'EdDSA'),
  makeKey('pss', 'PS512'),
  makeKey(undefined),
]);
const jwks = keySet(one, curve, edwards, pss);
const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const signed = await sign(one);
const [header = '', payload = '', signature = ''] = signed.split('.');

/** HS256 with the text of the public key as its secret. */
async function confused(): Promise<string> {
  const text = `${encode({ alg: 'HS256', kid: 'one' })}.${payload}`;
  const pem = await exportSPKI((await importJWK(one.jwk, 'RS256')) as CryptoKey);
  return `${text}.${createHmac('sha256', pem).update(text).digest('base64url')}`;
}

const rows: readonly (readonly [string, string, string])[] = [
  ['RS256', signed, 'accepted'],
  ['ES256', await sign(curve), 'accepted'],
  ['EdDSA', await sign(edwards), 'accepted'],
  ['PS512', await sign(pss), 'accepted'],
  ['no kid in the token', await sign({ ...one, jwk: {} }), 'accepted'],
  ['no expiry', await sign(one, { exp: undefined }), 'accepted'],
  [
    'alg none',
    `${encode({ alg: 'none' })}.${payload}.`,
    '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  ],
  [
    'alg none with a signature',
    `${encode({ alg: 'none' })}.${payload}.${signature}`,
    '401 Jwt header [alg] is not supported',
  ],
  ['alg None', `${encode({ alg: 'None' })}.${payload}.${signature}`, '401 Jwt header [alg] is not supported'],
  ['HS256 with the public key as secret', await confused(), '401 Jwt header [alg] is not supported'],
  [
    'no alg',
    `${encode({ kid: 'one' })}.${payload}.${signature}`,
    '401 Jwt header [alg] field is required and must be a string',
  ],
  [
    'an alg of another family than the key',
    `${encode({ alg: 'ES256', kid: 'one' })}.${payload}.${signature}`,
    "401 Jwks doesn't have key to match kid or alg from Jwt",
  ],
  [
    'PS256 with a key that is for RS256',
    `${encode({ alg: 'PS256', kid: 'one' })}.${payload}.${signature}`,
    "401 Jwks doesn't have key to match kid or alg from Jwt",
  ],
  [
    'another kid',
    await sign(one, {}, { kid: 'two' }),
    "401 Jwks doesn't have key to match kid or alg from Jwt",
  ],
  [
    'kid is no text',
    `${encode({ alg: 'RS256', kid: 1 })}.${payload}.${signature}`,
    '401 Jwt header [kid] field is not a string',
  ],
  ["another's key under the same kid", await sign(other), '401 Jwt verification fails'],
  [
    'a payload that was changed',
    `${header}.${encode({ iss: issuer, sub: 'root' })}.${signature}`,
    '401 Jwt verification fails',
  ],
  [
    'a signature that was cut',
    `${header}.${payload}.${signature.slice(0, 340)}`,
    '401 Jwt verification fails',
  ],
  ['crit', await sign(one, {}, { crit: ['b64'], b64: true }), '401 Jwt verification fails'],
  ['expired', await sign(one, { exp: now - 61 }), '401 Jwt is expired'],
  ['expired within the skew', await sign(one, { exp: now - 60 }), 'accepted'],
  ['not yet', await sign(one, { nbf: now + 61 }), '401 Jwt not yet valid'],
  ['not yet, within the skew', await sign(one, { nbf: now + 60 }), 'accepted'],
  [
    'exp is no number',
    `${header}.${encode({ iss: issuer, exp: 'never' })}.${signature}`,
    '401 Jwt payload [exp] field is not an integer',
  ],
  ['another issuer', await sign(one, { iss: 'https://other.example' }), '401 Jwt issuer is not configured'],
  ['no issuer', await sign(one, { iss: undefined }), '401 Jwt issuer is not configured'],
  [
    'iss is a list',
    `${header}.${encode({ iss: [issuer] })}.${signature}`,
    '401 Jwt payload [iss] field is not a string',
  ],
  [
    'aud is a number',
    `${header}.${encode({ iss: issuer, aud: 1 })}.${signature}`,
    '401 Jwt payload [aud] field is not a string or string list',
  ],
  [
    'no token at all',
    'opaque',
    '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  ],
  [
    'four parts',
    `${signed}.x`,
    '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  ],
  [
    'five parts (encrypted)',
    'a.b.c.d.e',
    '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  ],
  [
    'a header of other characters',
    `!!!.${payload}.${signature}`,
    '401 Jwt header is an invalid Base64url encoded',
  ],
  ['padding', `${header}=.${payload}.${signature}`, '401 Jwt header is an invalid Base64url encoded'],
  ['a header that is no JSON', `${encode('{')}.${payload}.${signature}`, '401 Jwt header is an invalid JSON'],
  [
    'a payload of other characters',
    `${header}.pay+load.${signature}`,
    '401 Jwt payload is an invalid Base64url encoded',
  ],
  ['a payload that is a list', `${header}.${encode([])}.${signature}`, '401 Jwt payload is an invalid JSON'],
  [
    'a signature of other characters',
    `${header}.${payload}.a/b`,
    '401 Jwt signature is an invalid Base64url encoded',
  ],
  [
    'two tokens in one header',
    `${signed},Bearer ${signed}`,
    '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  ],
  ['a huge token', `${header}.${'a'.repeat(40_000)}.${signature}`, '401 Jwt is too large'],
];

for (const [name, token, expected] of rows)
  test(`${name}: ${expected}`, async () => {
    const { authenticator } = setUp();
    const compiled = authenticator.compile([authenticationOf(ruleOf({ jwks }))]);
    assert.equal(shown(await authenticator.authenticate(compiled, bearer(token))), expected);
  });

const accepted = (result: AuthResult) => {
  assert.ok(result.accepted, shown(result));
  return result;
};

test('a refusal says why, in upstream’s form', async () => {
  const { authenticator } = setUp();
  const compiled = authenticator.compile([authenticationOf(ruleOf({ jwks }))]);
  assert.deepEqual(await authenticator.authenticate(compiled, bearer(await sign(one, { exp: 1 }))), {
    accepted: false,
    status: 401,
    body: 'Jwt is expired',
    headers: [
      { name: 'www-authenticate', value: 'Bearer realm="http://shop.example/items", error="invalid_token"' },
    ],
    details: 'jwt_authn_access_denied{Jwt_is_expired}',
  });
});

test('audiences are compared without scheme and last slash; another one is 403', async () => {
  const { authenticator } = setUp();
  const compiled = authenticator.compile([
    authenticationOf(ruleOf({ jwks, audiences: ['https://shop.example/', 'b'] })),
  ]);
  const ask = async (aud: unknown) =>
    shown(await authenticator.authenticate(compiled, bearer(await sign(one, { aud }))));
  assert.equal(await ask('shop.example'), 'accepted');
  assert.equal(await ask(['x', 'b']), 'accepted');
  assert.equal(await ask('x'), '403 Audiences in Jwt are not allowed');
  assert.equal(await ask(undefined), '403 Audiences in Jwt are not allowed');
});

test('a request without a token passes, without the headers that only we may set', () => {
  const { authenticator } = setUp();
  const rule = ruleOf({
    jwks,
    outputPayloadToHeader: 'X-Payload',
    outputClaimToHeaders: [{ header: 'x-group', claim: 'group' }],
  });
  const compiled = authenticator.compile([authenticationOf(rule)]);
  const result = authenticator.authenticate(
    compiled,
    requestOf({ 'x-group': 'admin', authorization: 'Basic abc' }),
  );
  assert.ok(!(result instanceof Promise));
  assert.equal(accepted(result).token, undefined);
  assert.deepEqual(accepted(result).removeHeaders, ['x-payload', 'x-group']);
});

test('claims become headers, the token is taken out', async () => {
  const { authenticator } = setUp();
  const claim = (header: string, name: string) => ({ header, claim: name });
  const rule = ruleOf({
    jwks,
    outputPayloadToHeader: 'x-payload',
    outputClaimToHeaders: [
      claim('X-Sub', 'sub'),
      claim('x-level', 'level'),
      claim('x-on', 'on'),
      claim('x-deep', 'a.b'),
      claim('x-list', 'list'),
      claim('x-none', 'none'),
      claim('x-split', 'split'),
      claim('x-name', 'name'),
    ],
  });
  const compiled = authenticator.compile([authenticationOf(rule)]);
  const token = await sign(one, {
    level: 3,
    on: true,
    a: { b: 'deep' },
    list: ['x'],
    split: 'a\r\nx: y',
    name: 'Zoë',
  });
  const result = accepted(await authenticator.authenticate(compiled, bearer(token)));
  assert.deepEqual(
    result.setHeaders.map(({ name, value }) => `${name}=${value}`),
    [
      `x-payload=${token.split('.')[1]}`,
      'x-sub=alice',
      'x-level=3',
      'x-on=true',
      'x-deep=deep',
      `x-name=${Buffer.from('Zoë').toString('latin1')}`,
    ],
  );
  assert.ok(result.removeHeaders.includes('authorization') && result.removeHeaders.includes('x-none'));
  const forwarding = authenticator.compile([authenticationOf(ruleOf({ jwks, forwardOriginalToken: true }))]);
  assert.deepEqual(accepted(await authenticator.authenticate(forwarding, bearer(token))).removeHeaders, []);
});

test('claims that are lists of words are split for policies', async () => {
  const { authenticator } = setUp();
  const compiled = authenticator.compile([
    authenticationOf(ruleOf({ jwks, spaceDelimitedClaims: ['roles'] })),
  ]);
  const token = await sign(one, { scope: 'read  write', permission: 'p', roles: 'a b', other: 'a b' });
  const { claims } = accepted(await authenticator.authenticate(compiled, bearer(token))).token ?? {};
  assert.deepEqual(
    [claims?.['scope'], claims?.['permission'], claims?.['roles'], claims?.['other']],
    [['read', 'write'], ['p'], ['a', 'b'], 'a b'],
  );
});

const places: readonly (readonly [string, (token: string) => RequestFacts, boolean])[] = [
  ['a header of one’s own', (token) => requestOf({ 'x-jwt': token }), true],
  ['a header with a prefix', (token) => requestOf({ 'x-jwt-2': `Token ${token}` }), true],
  ['a header without its prefix', (token) => requestOf({ 'x-jwt-2': token }), false],
  ['a parameter', (token) => requestOf({}, `a=1&jwt=${token}`), true],
  ['a parameter whose name is escaped', (token) => requestOf({}, `%6Awt=${token}`), true],
  ['a cookie', (token) => requestOf({ cookie: `a=b; session=${token}` }), true],
  ['a quoted cookie', (token) => requestOf({ cookie: `session="${token}"` }), true],
  ['the default header, when others are named', (token) => bearer(token), false],
];

for (const [name, request, found] of places)
  test(`the token in ${name} is ${found ? 'found' : 'not looked for'}`, async () => {
    const { authenticator } = setUp();
    const headers = [
      { name: 'x-jwt', prefix: '' },
      { name: 'x-jwt-2', prefix: 'Token ' },
    ];
    const rule = ruleOf({ jwks, from: { headers, params: ['jwt'], cookies: ['session'] } });
    const compiled = authenticator.compile([authenticationOf(rule)]);
    const result = accepted(await authenticator.authenticate(compiled, request(signed)));
    assert.equal(result.token?.subject, found ? 'alice' : undefined);
    if (found) assert.deepEqual([result.removeParams, result.removeCookies], [['jwt'], ['session']]);
  });

test('the default places are the Authorization header and access_token', async () => {
  const { authenticator } = setUp();
  const compiled = authenticator.compile([authenticationOf(ruleOf({ jwks }))]);
  const result = accepted(
    await authenticator.authenticate(compiled, requestOf({}, `access_token=${signed}`)),
  );
  assert.equal(result.token?.subject, 'alice');
});

test('every token counts: a bad one beside a good one refuses', async () => {
  const { authenticator } = setUp();
  const compiled = authenticator.compile([authenticationOf(ruleOf({ jwks }))]);
  const both = requestOf({ authorization: `Bearer ${signed}` }, 'access_token=bad');
  assert.match(shown(await authenticator.authenticate(compiled, both)), /not in the form/);
  const many = requestOf({}, Array.from({ length: 9 }, (_, i) => `access_token=${i}`).join('&'));
  assert.equal(shown(await authenticator.authenticate(compiled, many)), '401 Found multiple Jwt tokens');
});

test('several issuers: each token is judged by the rules of its own', async () => {
  const { authenticator } = setUp();
  const second = { issuer: 'https://second.example', jwks: keySet(curve) };
  const compiled = authenticator.compile([
    authenticationOf(ruleOf({ jwks: keySet(one) }), ruleOf(second)),
    authenticationOf(ruleOf({ jwks: keySet(anonymous), issuer: 'https://third.example' })),
  ]);
  const ask = async (token: Promise<string>) =>
    shown(await authenticator.authenticate(compiled, bearer(await token)));
  assert.equal(await ask(sign(one)), 'accepted');
  assert.equal(await ask(sign(curve, { iss: second.issuer })), 'accepted');
  assert.equal(await ask(sign(anonymous, { iss: 'https://third.example' })), 'accepted');
  assert.match(await ask(sign(one, { iss: second.issuer })), /Jwks doesn't have key/);
  assert.equal(await ask(sign(one, { iss: 'https://fourth.example' })), '401 Jwt issuer is not configured');
});

test('a token that was verified is accepted again without a promise, until it expires', async () => {
  const { authenticator, clock } = setUp();
  const compiled = authenticator.compile([authenticationOf(ruleOf({ jwks }))]);
  const token = await sign(one, { exp: now + 100 });
  accepted(await authenticator.authenticate(compiled, bearer(token)));
  const again = authenticator.authenticate(compiled, bearer(token));
  assert.ok(!(again instanceof Promise));
  assert.equal(accepted(again).token?.subject, 'alice');
  const elsewhere = authenticator.compile([authenticationOf(ruleOf({ jwks: keySet(curve) }))]);
  assert.ok(
    !(await authenticator.authenticate(elsewhere, bearer(token))).accepted,
    'another rule knows nothing of it',
  );
  clock.advance(161_000);
  assert.equal(shown(await authenticator.authenticate(compiled, bearer(token))), '401 Jwt is expired');
});

test('inline keys that cannot be read refuse every token', async () => {
  for (const bad of ['{', '{}', '{"keys":[]}', '{"keys":[{"kty":"oct","k":"AA"}]}']) {
    const { authenticator, server } = setUp();
    const compiled = authenticator.compile([authenticationOf(ruleOf({ jwks: bad }))]);
    const result = await authenticator.authenticate(compiled, bearer(signed));
    assert.equal(shown(result), "401 Jwks doesn't have any valid public key");
    assert.deepEqual(server.fetches, []);
  }
});

test('a token with any one character changed is refused', async () => {
  const { authenticator } = setUp();
  const compiled = authenticator.compile([authenticationOf(ruleOf({ jwks }))]);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ %';
  for (let i = 0; i < signed.length; i++) {
    const other = alphabet[(i * 31 + 7) % alphabet.length] as string;
    if (other === signed[i] || other === ' ') continue;
    const changed = signed.slice(0, i) + other + signed.slice(i + 1);
    const result = await authenticator.authenticate(compiled, bearer(changed));
    assert.equal(result.accepted, false, changed);
  }
});

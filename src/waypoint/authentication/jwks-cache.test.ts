import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  authenticationOf,
  bearer,
  issuer,
  jwksUri,
  keySet,
  makeKey,
  ruleOf,
  setUp,
  shown,
  sign,
} from './test-issuer.ts';

const [one, two] = await Promise.all([makeKey('one'), makeKey('two')]);
const token = await sign(one, { exp: undefined });
const minute = 60_000;

function remote(uri: string | undefined = jwksUri) {
  const parts = setUp();
  const compiled = parts.authenticator.compile([
    authenticationOf(ruleOf(uri === '' ? {} : { jwksUri: uri })),
  ]);
  const ask = async (text: string) => shown(await parts.authenticator.authenticate(compiled, bearer(text)));
  return { ...parts, compiled, ask };
}

test('keys are fetched once for many requests', async () => {
  const { ask, server } = remote();
  server.documents.set(jwksUri, keySet(one));
  const gate = Promise.withResolvers<void>();
  server.gate = gate.promise;
  const asked = Array.from({ length: 20 }, () => ask(token));
  gate.resolve();
  assert.deepEqual(new Set(await Promise.all(asked)), new Set(['accepted']));
  assert.deepEqual(server.fetches, [jwksUri]);
});

test('without a key set’s address, the issuer’s discovery document names it', async () => {
  const { ask, server } = remote('');
  server.documents.set(`${issuer}/.well-known/openid-configuration`, JSON.stringify({ jwks_uri: jwksUri }));
  server.documents.set(jwksUri, keySet(one));
  assert.equal(await ask(token), 'accepted');
  server.documents.clear();
  const bad = remote('');
  bad.server.documents.set(
    `${issuer}/.well-known/openid-configuration`,
    JSON.stringify({ jwks_uri: 'file:///etc/passwd' }),
  );
  assert.equal(await bad.ask(token), '401 Jwks remote fetch is failed');
  assert.equal(bad.server.fetches.length, 1);
});

test('a dead server: refused, and asked again after a pause that grows', async () => {
  const { ask, server, clock, authenticator } = remote();
  server.documents.set(jwksUri, new Error('connection refused'));
  for (let i = 0; i < 5; i++) assert.equal(await ask(token), '401 Jwks remote fetch is failed');
  assert.equal(server.fetches.length, 1);
  clock.advance(1_000);
  await ask(token);
  clock.advance(1_000);
  await ask(token);
  assert.equal(server.fetches.length, 2);
  server.documents.set(jwksUri, keySet(one));
  clock.advance(1_000);
  assert.equal(await ask(token), 'accepted');
  assert.deepEqual({ ...authenticator.counters }, { fetched: 1, failed: 2, stale: 0 });
});

test('what is no key set is a failed fetch', async () => {
  for (const document of ['<html>', '{"keys":{}}', '{"keys":[{"kty":"oct","k":"AA"}]}']) {
    const { ask, server } = remote();
    server.documents.set(jwksUri, document);
    assert.equal(await ask(token), '401 Jwks remote fetch is failed');
  }
});

test('keys are refreshed after 20 minutes behind the request’s back', async () => {
  const { ask, server, clock, authenticator, compiled } = remote();
  server.documents.set(jwksUri, keySet(one));
  await ask(token);
  clock.advance(21 * minute);
  const result = authenticator.authenticate(compiled, bearer(token));
  assert.ok(!(result instanceof Promise));
  assert.equal(server.fetches.length, 2);
});

test('keys that were not used for long are refreshed first: one that was withdrawn is not accepted once more', async () => {
  const { ask, server, clock } = remote();
  server.documents.set(jwksUri, keySet(one));
  assert.equal(await ask(token), 'accepted');
  server.documents.set(jwksUri, keySet(two));
  clock.advance(60 * minute);
  assert.equal(await ask(token), "401 Jwks doesn't have key to match kid or alg from Jwt");
});

test('if the server dies, the old keys stay in use, and that is counted', async () => {
  const { ask, server, clock, authenticator } = remote();
  server.documents.set(jwksUri, keySet(one));
  await ask(token);
  server.documents.set(jwksUri, new Error('connection refused'));
  clock.advance(60 * minute);
  assert.equal(await ask(token), 'accepted');
  assert.equal(await ask(token), 'accepted');
  assert.equal(authenticator.counters.failed, 1);
  assert.ok(authenticator.counters.stale >= 2);
});

test('rotation: a new key is found at once, and an old token with a key that is gone is refused', async () => {
  const { ask, server, clock } = remote();
  server.documents.set(jwksUri, keySet(one));
  assert.equal(await ask(token), 'accepted');
  clock.advance(minute);
  server.documents.set(jwksUri, keySet(two));
  assert.equal(await ask(await sign(two)), 'accepted');
  assert.equal(server.fetches.length, 2);
  assert.equal(await ask(token), "401 Jwks doesn't have key to match kid or alg from Jwt");
});

test('keys that nobody has are asked for at most every 30 seconds', async () => {
  const { ask, server, clock } = remote();
  server.documents.set(jwksUri, keySet(one));
  await ask(token);
  const unknown = await sign(two);
  for (let i = 0; i < 3; i++) await ask(unknown);
  assert.equal(server.fetches.length, 1);
  clock.advance(30_000);
  for (let i = 0; i < 3; i++) await ask(unknown);
  assert.equal(server.fetches.length, 2);
  assert.equal(await ask(token), 'accepted');
});

test('more requests than can be verified at a time are refused', async () => {
  const { server, authenticator } = setUp({ maxPending: 2 });
  const compiled = authenticator.compile([authenticationOf(ruleOf({ jwksUri }))]);
  server.documents.set(jwksUri, keySet(one));
  const gate = Promise.withResolvers<void>();
  server.gate = gate.promise;
  const asked = [1, 2, 3].map(async () => authenticator.authenticate(compiled, bearer(token)));
  assert.equal(shown(await (asked[2] as (typeof asked)[0])), '503 Jwt verification is overloaded');
  gate.resolve();
  assert.deepEqual((await Promise.all(asked.slice(0, 2))).map(shown), ['accepted', 'accepted']);
});

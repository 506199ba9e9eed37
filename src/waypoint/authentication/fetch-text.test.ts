import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { systemClock, silentLogger } from '#/kit/index.ts';
import { Authenticator } from './authenticator.ts';
import { fetchText } from './fetch-text.ts';
import { authenticationOf, bearer, keySet, makeKey, ruleOf, shown, sign } from './test-issuer.ts';

async function serving(handler: RequestListener, use: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const limits = { timeoutMs: 30_000, maxBytes: 1000 };

test('a document is fetched', () =>
  serving(
    (_, response) => response.end('{"keys":[]}'),
    async (url) => assert.equal(await fetchText(url, limits), '{"keys":[]}'),
  ));

test('another status is an error', () =>
  serving(
    (_, response) => response.writeHead(503).end('busy'),
    async (url) => assert.rejects(fetchText(url, limits), /answered 503/),
  ));

test('a document without end is an error', () =>
  serving(
    (_, response) => {
      const more = (): void => {
        if (!response.destroyed && response.write('x'.repeat(500))) setImmediate(more);
      };
      more();
      response.on('drain', more);
    },
    async (url) => assert.rejects(fetchText(url, limits), /more than 1000 bytes/),
  ));

test('a server that says nothing is an error', () =>
  serving(
    () => {},
    async (url) => assert.rejects(fetchText(url, { ...limits, timeoutMs: 50 }), { name: 'TimeoutError' }),
  ));

test('a server that stops in the middle is an error', () =>
  serving(
    (_, response) => response.write('{'),
    async (url) => assert.rejects(fetchText(url, { ...limits, timeoutMs: 50 })),
  ));

test('no server is an error', () => assert.rejects(fetchText('http://127.0.0.1:1/keys', limits)));

test('a key server that is slow, then well: refused in time, then accepted', async () => {
  const key = await makeKey('one');
  const token = await sign(key, { exp: undefined });
  let slow = true;
  const handler: RequestListener = (_, response) => {
    if (!slow) response.end(keySet(key));
  };
  await serving(handler, async (url) => {
    const ask = async (timeoutMs: number) => {
      const authenticator = new Authenticator({ fetch: fetchText, clock: systemClock, log: silentLogger });
      const compiled = authenticator.compile([authenticationOf(ruleOf({ jwksUri: url, timeoutMs }))]);
      return shown(await authenticator.authenticate(compiled, bearer(token)));
    };
    assert.equal(await ask(50), '401 Jwks remote fetch is failed');
    slow = false;
    assert.equal(await ask(30_000), 'accepted');
  });
});

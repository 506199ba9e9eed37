import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { fetchText } from './fetch-text.ts';

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

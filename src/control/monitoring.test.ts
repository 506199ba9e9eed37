import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { silentLogger } from '#/kit/index.ts';
import { serveHttp } from './monitoring.ts';

test('targets as istioctl writes them, and absurd ones', async (t) => {
  const server = await serveHttp('127.0.0.1', 0, { '/version': () => ({ body: 'one' }) }, silentLogger);
  t.after(() => server[Symbol.asyncDispose]());
  // Not by fetch, which would tidy the target.
  const get = (target: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(server.port, '127.0.0.1');
      let got = '';
      socket.on('data', (chunk) => (got += String(chunk)));
      socket.on('end', () => resolve(got));
      socket.on('error', reject);
      socket.write(`GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    });
  const rows: readonly (readonly [string, RegExp])[] = [
    ['/version', /^HTTP\/1.1 200 [^]*one/],
    ['//version', /^HTTP\/1.1 200 [^]*one/],
    ['/version?a=//b', /^HTTP\/1.1 200 [^]*one/],
    ['//[', /^HTTP\/1.1 404 /],
    ['/constructor', /^HTTP\/1.1 404 /],
    ['http://[', /^HTTP\/1.1 404 /],
    ['/version', /^HTTP\/1.1 200 [^]*one/],
  ];
  for (const [target, answer] of rows) assert.match(await get(target), answer, target);
});

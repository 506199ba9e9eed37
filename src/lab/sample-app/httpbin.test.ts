import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import type { Server } from 'node:http';
import { startHttpbin } from './httpbin.ts';

let server: Server;
let base = '';
before(async () => {
  server = await startHttpbin({ host: '127.0.0.1', port: 0, podName: 'me' });
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => server.close());

const json = async (path: string, init: RequestInit = {}): Promise<Record<string, unknown>> =>
  (await (await fetch(base + path, init)).json()) as Record<string, unknown>;

test('/get tells arguments, headers and the TCP peer, whatever a header says', async () => {
  const answer = await json('/get?a=1&b=2&b=3', { headers: { 'X-Forwarded-For': '9.9.9.9', 'X-A': 'b' } });
  assert.deepEqual(answer['args'], { a: '1', b: ['2', '3'] });
  assert.equal(answer['origin'], '127.0.0.1');
  assert.equal(answer['pod'], 'me');
  assert.match(JSON.stringify(answer['headers']), /"x-a":"b"/i);
});

test('/status, /bytes, /delay, /post and what is none of them', async () => {
  assert.equal((await fetch(`${base}/status/418`)).status, 418);
  for (const bad of ['/status/99', '/status/x', '/bytes/-1', '/bytes/999999999', '/delay/x', '/delay/61'])
    assert.equal((await fetch(base + bad)).status, 400, bad);
  assert.equal((await (await fetch(`${base}/bytes/200000`)).arrayBuffer()).byteLength, 200_000);
  const began = performance.now();
  await fetch(`${base}/delay/0.1`);
  assert.ok(performance.now() - began >= 95);
  assert.equal((await json('/post', { method: 'POST', body: 'hello' }))['data'], 'hello');
  assert.equal((await fetch(`${base}/post`, { method: 'POST', body: 'x'.repeat(2 << 20) })).status, 413);
  assert.equal((await fetch(`${base}/nosuch`)).status, 404);
});

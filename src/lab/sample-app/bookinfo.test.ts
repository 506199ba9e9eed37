import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { headersOn, startBookinfo, type BookinfoOptions, type BookService } from './bookinfo.ts';

const servers: Server[] = [];
const base: Record<string, string> = {};

async function start(name: string, service: BookService, o: Partial<BookinfoOptions> = {}): Promise<void> {
  const server = await startBookinfo({
    service,
    version: 'v1',
    host: '127.0.0.1',
    port: 0,
    podName: `${name}-pod`,
    ...o,
  });
  servers.push(server);
  base[name] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

before(async () => {
  await start('ratings', 'ratings');
  await start('details', 'details');
  const ratings = base['ratings'] as string;
  await start('v1', 'reviews');
  await start('v2', 'reviews', { version: 'v2', ratings });
  await start('v3', 'reviews', { version: 'v3', ratings });
  await start('alone', 'reviews', { version: 'v3', ratings: 'http://127.0.0.1:1', timeoutMs: 1000 });
  const urls = { details: base['details'] as string, reviews: base['v3'] as string };
  await start('productpage', 'productpage', urls);
  await start('hasty', 'productpage', { ...urls, timeoutMs: 50 });
});
after(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

async function get(name: string, path: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${base[name]}${path}`, { headers });
  const text = await response.text();
  return { status: response.status, text, by: response.headers.get('x-served-by') };
}

const json = async (name: string, path: string, headers: Record<string, string> = {}): Promise<unknown> =>
  JSON.parse((await get(name, path, headers)).text);

const ratingsOf = async (name: string): Promise<unknown[]> =>
  ((await json(name, '/reviews/0')) as { reviews: { rating?: unknown }[] }).reviews.map(
    ({ rating }) => rating,
  );

test('versions of reviews differ in their stars', async () => {
  assert.deepEqual(await ratingsOf('v1'), [undefined, undefined]);
  assert.deepEqual(await ratingsOf('v2'), [
    { stars: 5, color: 'black' },
    { stars: 4, color: 'black' },
  ]);
  assert.deepEqual((await ratingsOf('v3'))[0], { stars: 5, color: 'red' });
  assert.equal((await get('v3', '/reviews/0')).by, 'v3-pod reviews-v3');
});

test('reviews go on without ratings', async () => {
  const missing = { error: 'there are no ratings just now', status: 0 };
  assert.deepEqual(await ratingsOf('alone'), [missing, missing]);
});

test('the page shows what the services say, for browsers and for programs', async () => {
  const { status, text } = await get('productpage', '/productpage');
  assert.equal(status, 200);
  assert.match(text, /<title>Simple Bookstore App<\/title>/);
  assert.match(text, /color: red">★★★★★</);
  const data = (await json('productpage', '/productpage?format=json')) as {
    details: { status: number };
    reviews: { status: number; body: { pod: string } };
  };
  assert.equal(data.details.status, 200);
  assert.equal(data.reviews.body.pod, 'v3-pod');
  assert.equal(((await json('productpage', '/api/v1/products')) as unknown[]).length, 1);
  assert.equal((await get('productpage', '/api/v1/products/0/reviews')).status, 200);
  assert.equal((await get('productpage', '/api/v1/products/1')).status, 404);
  assert.equal((await get('ratings', '/reviews/0')).status, 404);
});

test('a fault is handed on to the service that it names', async () => {
  const fault = { 'x-fault': 'fail=418;service=details' };
  const page = (await json('productpage', '/productpage?format=json', fault)) as {
    details: { status: number };
    reviews: { status: number };
  };
  assert.deepEqual([page.details.status, page.reviews.status], [418, 200]);
  assert.equal((await get('v1', '/reviews/0', { 'x-fault': 'fail=503' })).status, 503);
  assert.equal((await get('v1', '/reviews/0', { 'x-fault': 'oops' })).status, 400);
  assert.equal((await get('v1', '/health', { 'x-fault': 'fail=503' })).status, 200);
  await assert.rejects(get('v1', '/reviews/0', { 'x-fault': 'fail=reset' }));
});

test('a service that is slow or away is an answer, too', async () => {
  const slow = { 'x-fault': 'delay=2000;service=details' };
  const page = (await json('hasty', '/productpage?format=json', slow)) as {
    details: { status: number; body: { error: string } };
  };
  assert.deepEqual(page.details, { status: 0, body: { error: 'no answer within 50 ms' } });
  assert.equal((await get('hasty', '/api/v1/products/0', slow)).status, 503);
});

test('headers of traces, of the user and of faults are handed on, and no others', () => {
  const on = headersOn({
    traceparent: 'a',
    b3: 'b',
    'x-b3-traceid': 'c',
    'x-request-id': 'd',
    'end-user': 'jason',
    host: 'x',
    accept: 'y',
  });
  assert.deepEqual(on, {
    'x-request-id': 'd',
    traceparent: 'a',
    b3: 'b',
    'x-b3-traceid': 'c',
    'end-user': 'jason',
  });
});

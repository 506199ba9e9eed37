import assert from 'node:assert/strict';
import type { IncomingMessage, RequestListener } from 'node:http';
import { test } from 'node:test';
import type { AuthzAnswer, AuthzProvider } from './authz-answer.ts';
import { ExternalAuthorizer, ExternalChannels, HttpClients } from './index.ts';
import { authzRequest, connection, deadAddress, httpServer, type Running } from './test-services.ts';

type Http = Extract<AuthzProvider, { type: 'ext-authz-http' }>;

const provider = ({ address }: Pick<Running, 'address'>, changes: Partial<Http> = {}): Http => ({
  kind: 'provider',
  name: 'authz',
  type: 'ext-authz-http',
  address,
  pathPrefix: '',
  includeRequestHeaders: [],
  additionalHeaders: [],
  headersToUpstreamOnAllow: [],
  headersToDownstreamOnAllow: [],
  headersToDownstreamOnDeny: [],
  timeoutMs: 30_000,
  failOpen: false,
  statusOnError: 403,
  clearRouteCache: false,
  ...changes,
});

async function ask(
  script: RequestListener,
  changes: Partial<Http> = {},
  use: (authorizer: ExternalAuthorizer, provider: Http) => Promise<AuthzAnswer> = (authorizer, to) =>
    authorizer.check(to, authzRequest(), connection),
): Promise<AuthzAnswer> {
  await using server = await httpServer(script);
  using channels = new ExternalChannels();
  using http = new HttpClients({ maxBytes: 1000 });
  return await use(new ExternalAuthorizer(channels, http), provider(server, changes));
}

test('the head is sent, with the headers that are listed', async () => {
  let seen: IncomingMessage | undefined;
  let body = '';
  const request = authzRequest(
    [
      ['authorization', 'Bearer x'],
      ['x-one', '1'],
      ['x-two-a', '2'],
      ['x-not', '3'],
      ['x-own', 'forged'],
      ['connection', 'close'],
    ],
    { method: 'POST' },
  );
  await ask(
    (got, response) => {
      seen = got;
      got.on('data', (chunk: Buffer) => (body += chunk.toString()));
      got.on('end', () => response.end());
    },
    {
      pathPrefix: '/check',
      includeRequestHeaders: ['x-one', 'x-two-*', 'x-own', 'connection'],
      additionalHeaders: [{ name: 'X-Own', value: 'ours' }],
      includeBody: { maxBytes: 10, allowPartial: false, packAsBytes: false },
    },
    (authorizer, to) =>
      authorizer.check(to, request, connection, { bytes: Buffer.from('body'), complete: true }),
  );
  assert.equal(seen?.method, 'POST');
  assert.equal(seen.url, '/check/items?a=1');
  const { connection: _, ...headers } = seen.headers;
  assert.deepEqual(headers, {
    host: 'shop.example',
    authorization: 'Bearer x',
    'x-one': '1',
    'x-two-a': '2',
    'x-own': 'ours',
    'x-envoy-auth-partial-body': 'false',
    'content-length': '4',
  });
  assert.equal(body, 'body');
});

test('200 allows; the listed headers go on', async () => {
  const answer = await ask(
    (_, response) =>
      response
        .writeHead(200, [
          'X-User',
          'alice',
          'x-user',
          'bob',
          'x-other',
          'no',
          'x-seen',
          '1',
          'x-envoy-auth-headers-to-remove',
          'authorization, :path, X-Old',
        ])
        .end('ignored'),
    { headersToUpstreamOnAllow: ['x-user'], headersToDownstreamOnAllow: ['x-s*'], clearRouteCache: true },
  );
  assert.deepEqual(answer, {
    allow: true,
    failedOpen: false,
    requestHeaders: [
      { name: 'x-user', value: 'alice', action: 'set' },
      { name: 'x-user', value: 'bob', action: 'append' },
    ],
    removeRequestHeaders: ['authorization', 'x-old'],
    responseHeaders: [{ name: 'x-seen', value: '1', action: 'append' }],
    clearRouteCache: true,
  });
});

test('any other status below 500 is the client’s answer', async () => {
  const script: RequestListener = (_, response) =>
    response.writeHead(401, { 'WWW-Authenticate': 'Basic', 'x-a': '1', 'x-b': '2' }).end('who are you?');
  const listed = await ask(script, { headersToDownstreamOnDeny: ['x-a'] });
  assert.deepEqual(listed, {
    allow: false,
    status: 401,
    headers: [
      { name: 'www-authenticate', value: 'Basic' },
      { name: 'x-a', value: '1' },
    ],
    body: Buffer.from('who are you?'),
    details: 'ext_authz_denied',
  });
  const all = await ask(script);
  assert.ok(!all.allow);
  const names = all.headers.map(({ name }) => name);
  assert.ok(names.includes('x-b') && !names.includes('content-length') && !names.includes('connection'));
  const moved = await ask((_, response) => response.writeHead(204).end());
  assert.ok(!moved.allow && moved.status === 204, 'only 200 allows');
});

const broken: readonly (readonly [string, RequestListener, RegExp, Partial<Http>?])[] = [
  ['a failure of the service', (_, response) => response.writeHead(503).end(), /answered 503/],
  ['a connection that is closed', (request) => request.socket.destroy(), /127\.0\.0\.1/],
  [
    'half an answer',
    (_, response) =>
      response
        .writeHead(200, { 'content-length': 9 })
        .write('x', 'utf8', () => void response.socket?.destroy()),
    /127/,
  ],
  ['an answer without end', (_, response) => response.end('x'.repeat(2000)), /more than 1000 bytes/],
  ['silence', () => {}, /no answer within 50 ms/, { timeoutMs: 50 }],
];

for (const [name, script, expected, changes] of broken)
  test(`${name}: refused, or let through if configured`, async () => {
    const closed = await ask(script, { statusOnError: 500, ...changes });
    assert.ok(!closed.allow && closed.status === 500 && closed.details === 'ext_authz_error');
    assert.match(closed.error ?? '', expected);
    const open = await ask(script, { failOpen: true, ...changes });
    assert.ok(open.allow && open.failedOpen);
  });

test('nobody there, and a path that cannot be sent, are refusals', async () => {
  using channels = new ExternalChannels();
  using http = new HttpClients();
  const authorizer = new ExternalAuthorizer(channels, http);
  const dead = await authorizer.check(provider({ address: await deadAddress() }), authzRequest(), connection);
  assert.match(dead.error ?? '', /ECONNREFUSED/);
  const odd = await ask(
    (_, response) => response.end(),
    {},
    (one, to) => one.check(to, authzRequest([], { path: '/a b' }), connection),
  );
  assert.ok(!odd.allow && odd.details === 'ext_authz_error');
  const tcp = await ask(
    (_, response) => response.end(),
    {},
    (one, to) => one.checkTcp(to, connection),
  );
  assert.ok(!tcp.allow);
});

test('connections are kept, and answers do not mix', async () => {
  const sockets = new Set<unknown>();
  await using server = await httpServer((request, response) => {
    sockets.add(request.socket);
    response.writeHead(403).end(request.url);
  });
  using channels = new ExternalChannels();
  using http = new HttpClients();
  const authorizer = new ExternalAuthorizer(channels, http);
  for (let i = 0; i < 20; i++) {
    const answer = await authorizer.check(
      provider(server),
      authzRequest([], { path: `/${i}`, query: '' }),
      connection,
    );
    assert.ok(!answer.allow);
    assert.equal(answer.body.toString(), `/${i}`);
  }
  assert.ok(sockets.size < 5, `${sockets.size} connections`);
});

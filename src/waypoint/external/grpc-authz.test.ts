import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkMethod } from '#/wire/index.ts';
import type { AuthzAnswer, AuthzProvider } from './authz-answer.ts';
import { ExternalAuthorizer, ExternalChannels, HttpClients } from './index.ts';
import {
  authzRequest,
  connection,
  deadAddress,
  grpcError,
  unaryServer,
  type Running,
} from './test-services.ts';

type Grpc = Extract<AuthzProvider, { type: 'ext-authz-grpc' }>;
type ResponseInit = Parameters<typeof checkMethod.response.encode>[0];
type CheckRequest = ReturnType<typeof checkMethod.request.decode>;

const provider = ({ address }: Pick<Running, 'address'>, changes: Partial<Grpc> = {}): Grpc => ({
  kind: 'provider',
  name: 'authz',
  type: 'ext-authz-grpc',
  address,
  timeoutMs: 30_000,
  failOpen: false,
  statusOnError: 403,
  clearRouteCache: true,
  ...changes,
});

async function ask(
  script: (request: CheckRequest) => ResponseInit | Error | undefined,
  changes: Partial<Grpc> = {},
  use: (authorizer: ExternalAuthorizer, provider: Grpc) => Promise<AuthzAnswer> = (authorizer, to) =>
    authorizer.check(to, authzRequest(), connection),
): Promise<AuthzAnswer> {
  await using server = await unaryServer(checkMethod, script);
  using channels = new ExternalChannels();
  using http = new HttpClients();
  return await use(new ExternalAuthorizer(channels, http), provider(server, changes));
}

test('the service is told who asks for what', async () => {
  let asked: CheckRequest | undefined;
  const request = authzRequest([
    ['x-a', '1'],
    ['x-a', '2'],
    ['cookie', 'a=1'],
    ['cookie', 'b=2'],
    ['x-name', Buffer.from('Zoë').toString('latin1')],
  ]);
  await ask(
    (got) => {
      asked = got;
      return {};
    },
    { includeBody: { maxBytes: 4, allowPartial: true, packAsBytes: false } },
    (authorizer, to) =>
      authorizer.check(to, request, connection, { bytes: Buffer.from('body'), complete: false }),
  );
  const attributes = asked?.attributes;
  assert.equal(attributes?.source?.principal, 'spiffe://td/ns/front/sa/web');
  assert.deepEqual(
    [attributes.source, attributes.destination].map((peer) => {
      const address = peer?.address?.address.value;
      return `${address?.address}:${address?.portSpecifier.value}`;
    }),
    ['10.1.2.3:40000', '10.9.0.1:80'],
  );
  assert.equal(attributes.tlsSession?.sni, 'shop.example');
  const http = attributes.request?.http;
  assert.deepEqual(
    [http?.id, http?.method, http?.path, http?.host, http?.scheme, http?.protocol, http?.body, http?.size],
    ['request-1', 'GET', '/items?a=1', 'shop.example', 'http', 'HTTP/1.1', 'body', -1n],
  );
  assert.deepEqual(http?.headers, {
    ':authority': 'shop.example',
    ':method': 'GET',
    ':path': '/items?a=1',
    ':scheme': 'http',
    'x-a': '1,2',
    cookie: 'a=1; b=2',
    'x-name': 'Zoë',
    'x-envoy-auth-partial-body': 'true',
  });
});

const raw = (key: string, value: string) => ({ header: { key, value } });

test('it allows, and changes headers', async () => {
  const answer = await ask(() => ({
    status: { code: 0 },
    httpResponse: {
      case: 'okResponse',
      value: {
        headers: [
          raw('X-User', 'alice'),
          { ...raw('x-list', 'b'), append: true },
          { ...raw('x-new', 'c'), appendAction: 1 },
          { ...raw('x-there', 'd'), appendAction: 3 },
          raw(':path', '/admin'),
          raw('Content-Length', '0'),
          raw('x-name', 'Zoë'),
        ],
        headersToRemove: ['Authorization', ':method', 'host'],
        responseHeadersToAdd: [raw('x-seen', '1')],
      },
    },
  }));
  assert.ok(answer.allow);
  assert.deepEqual(
    answer.requestHeaders.map(({ name, value, action }) => `${action} ${name} ${value}`),
    [
      'set x-user alice',
      'append x-list b',
      'add-if-absent x-new c',
      'set-if-present x-there d',
      `set x-name ${Buffer.from('Zoë').toString('latin1')}`,
    ],
  );
  assert.deepEqual(answer.removeRequestHeaders, ['authorization']);
  assert.deepEqual(answer.responseHeaders[0], { name: 'x-seen', value: '1', action: 'set' });
  assert.equal(answer.clearRouteCache, true);
});

test('it denies, with its own answer or with 403', async () => {
  const own = await ask(() => ({
    status: { code: 16 },
    httpResponse: {
      case: 'deniedResponse',
      value: {
        status: { code: 302 },
        headers: [raw('Location', '/login'), raw('content-length', '9')],
        body: 'log in',
      },
    },
  }));
  assert.deepEqual(own, {
    allow: false,
    status: 302,
    headers: [{ name: 'location', value: '/login' }],
    body: Buffer.from('log in'),
    details: 'ext_authz_denied',
  });
  const plain = await ask(() => ({ status: { code: 7 } }));
  assert.ok(!plain.allow && plain.status === 403 && plain.details === 'ext_authz_denied');
});

const broken: readonly (readonly [string, ResponseInit | Error, RegExp])[] = [
  ['a gRPC error', grpcError(13), /INTERNAL: scripted/],
  ['unimplemented', grpcError(12), /UNIMPLEMENTED/],
  [
    'a header that would break the message',
    { httpResponse: { case: 'okResponse', value: { headers: [raw('x-a', 'b\r\nx-admin: 1')] } } },
    /malformed header "x-a"/,
  ],
  [
    'a name that is none',
    { httpResponse: { case: 'okResponse', value: { headers: [raw('x a', 'b')] } } },
    /malformed/,
  ],
  ['allowed and denied at once', { httpResponse: { case: 'deniedResponse', value: {} } }, /at once/],
];

for (const [name, response, expected] of broken)
  test(`${name}: refused, or let through if configured`, async () => {
    const closed = await ask(() => response, { statusOnError: 503 });
    assert.ok(!closed.allow && closed.status === 503 && closed.details === 'ext_authz_error');
    assert.match(closed.error ?? '', expected);
    const open = await ask(() => response, { failOpen: true });
    assert.ok(open.allow && open.failedOpen && open.requestHeaders.length === 0);
    assert.match(open.error ?? '', expected);
  });

test('no answer in time is a refusal', async () => {
  const counted: unknown[] = [];
  const answer = await ask(
    () => undefined,
    { timeoutMs: 50 },
    async (authorizer, to) => {
      const result = await authorizer.check(to, authzRequest(), connection);
      counted.push({ ...authorizer.counters });
      return result;
    },
  );
  assert.ok(!answer.allow && answer.status === 403);
  assert.match(answer.error ?? '', /DEADLINE_EXCEEDED/);
  assert.deepEqual(counted, [{ ok: 0, denied: 0, failed: 1, failedOpen: 0, timeouts: 1, overloaded: 0 }]);
});

test('nobody there is a refusal; a service that comes back is asked again', async () => {
  using channels = new ExternalChannels();
  using http = new HttpClients();
  const authorizer = new ExternalAuthorizer(channels, http);
  const address = await deadAddress();
  const answer = await authorizer.check(provider({ address }), authzRequest(), connection);
  assert.ok(!answer.allow && answer.details === 'ext_authz_error');
  assert.equal(channels.inFlight(address), 0);
});

test('more calls than allowed are refused before they are sent', async () => {
  await using server = await unaryServer(checkMethod, () => undefined);
  using channels = new ExternalChannels({ maxInFlight: 2 });
  using http = new HttpClients();
  const authorizer = new ExternalAuthorizer(channels, http);
  const stop = new AbortController();
  const check = () => authorizer.check(provider(server), authzRequest(), connection, undefined, stop.signal);
  const waiting = [check(), check()];
  const third = await check();
  assert.match(third.error ?? '', /2 calls are under way/);
  assert.equal(authorizer.counters.overloaded, 1);
  stop.abort();
  for (const answer of await Promise.all(waiting)) assert.match(answer.error ?? '', /CANCELLED/);
  assert.equal(channels.inFlight(server.address), 0);
});

test('a body that is longer than the service wants is 413', async () => {
  const answer = await ask(
    () => ({}),
    { includeBody: { maxBytes: 1, allowPartial: false, packAsBytes: true } },
    (authorizer, to) =>
      authorizer.check(to, authzRequest(), connection, { bytes: Buffer.from('x'), complete: false }),
  );
  assert.ok(!answer.allow && answer.status === 413 && answer.details === 'request_payload_too_large');
});

test('a connection without HTTP is judged by its peers alone', async () => {
  let asked: CheckRequest | undefined;
  const answer = await ask(
    (got) => {
      asked = got;
      return {};
    },
    {},
    (authorizer, to) => authorizer.checkTcp(to, connection),
  );
  assert.equal(answer.allow, true);
  assert.equal(asked?.attributes?.request, undefined);
});

test('after some timeouts in a row another connection is tried', async () => {
  const peers = new Set<string>();
  let silent = true;
  await using server = await unaryServer(checkMethod, (_, peer) => {
    peers.add(peer);
    return silent ? undefined : {};
  });
  using channels = new ExternalChannels();
  using http = new HttpClients();
  const authorizer = new ExternalAuthorizer(channels, http);
  const check = (timeoutMs: number) =>
    authorizer.check(provider(server, { timeoutMs }), authzRequest(), connection);
  while (peers.size === 0) await check(100);
  for (let i = 0; i < 3; i++) await check(100);
  silent = false;
  assert.equal((await check(30_000)).allow, true);
  assert.ok(peers.size > 1);
});

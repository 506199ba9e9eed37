import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patternAt, PatternCheck } from './h2/byte-pattern.ts';
import { h2Error } from './h2/frames.ts';
import type { HeaderList } from './h2/hpack.ts';
import { RecordingSink } from './h2/scripted-peer.ts';
import type { StreamFailure } from './h2/stream.ts';
import { connect, HeldRequest } from './hbone.ts';
import { countCredit, settle, TunnelPair, until } from './tunnel-pair.ts';

/** Asks, and writes down what comes of it. */
function ask(pair: TunnelPair): { outcomes: string[]; sink: () => RecordingSink | undefined } {
  const outcomes: string[] = [];
  let sink: RecordingSink | undefined;
  connect(pair.client, '10.0.0.1:80', [['baggage', 'a=b']], {
    opened: (stream, headers) => {
      sink = new RecordingSink(stream);
      outcomes.push(`opened ${headers.map(([name, value]) => `${name}=${value}`).join(' ')}`);
    },
    refused: (status) => outcomes.push(`refused ${status}`),
    failed: (failure) => outcomes.push(`failed ${failure.kind} ${failure.code}`),
  });
  return { outcomes, sink: () => sink };
}

test('connect: the request has the authority and the headers, nothing else', async () => {
  let seen: HeaderList = [];
  using pair = new TunnelPair((stream, headers) => {
    seen = headers;
    stream.respond([
      [':status', '200'],
      ['baggage', 'c=d'],
    ]);
  });
  const { outcomes } = ask(pair);
  assert.deepEqual(outcomes, [], 'later, never at once');
  await until(() => outcomes.length > 0);
  assert.deepEqual(seen, [
    [':method', 'CONNECT'],
    [':authority', '10.0.0.1:80'],
    ['baggage', 'a=b'],
  ]);
  assert.deepEqual(outcomes, ['opened :status=200 baggage=c=d']);
});

/** What a server does with the request, and the one outcome that the client is told. */
const answers: readonly [name: string, act: (pair: TunnelPair) => void, outcome: string][] = [
  ['200', (p) => p.requests[0]?.respond([[':status', '200']]), 'opened :status=200'],
  ['401', (p) => p.requests[0]?.respond([[':status', '401']], true), 'refused 401'],
  ['503 without an end', (p) => p.requests[0]?.respond([[':status', '503']]), 'refused 503'],
  ['204, which is no tunnel', (p) => p.requests[0]?.respond([[':status', '204']]), 'refused 204'],
  [
    'informational, then 200',
    (p) => {
      p.requests[0]?.respond([[':status', '103']]);
      p.requests[0]?.respond([[':status', '200']]);
    },
    'opened :status=200',
  ],
  ['a reset', (p) => p.requests[0]?.reset(h2Error.internalError), 'failed reset 2'],
  ['a refused stream', (p) => p.requests[0]?.reset(h2Error.refusedStream), 'failed refused 7'],
  ['an end without an answer', (p) => p.requests[0]?.end(), 'failed reset 1'],
  ['bytes without an answer', (p) => p.requests[0]?.write(Buffer.from('x')), 'failed reset 1'],
  ['the end of the connection', (p) => p.server.destroy('gone'), 'failed session 2'],
  [
    'a drain, then the answer',
    (p) => {
      p.server.session.drain();
      p.requests[0]?.respond([[':status', '200']]);
    },
    'opened :status=200',
  ],
];

for (const [name, act, outcome] of answers) {
  test(`connect: ${name}`, async () => {
    using pair = new TunnelPair();
    const { outcomes } = ask(pair);
    await until(() => pair.requests.length > 0);
    act(pair);
    await until(() => outcomes.length > 0);
    await settle();
    pair.client.destroy('the test is over');
    await settle();
    assert.deepEqual(outcomes, [outcome], 'exactly one outcome');
  });
}

test('connect: over the limit of the server, the stream is refused and can be tried elsewhere', async () => {
  using pair = new TunnelPair();
  const all = Array.from({ length: 201 }, () => ask(pair));
  await until(() => pair.requests.length === 200 && (all[200]?.outcomes.length ?? 0) > 0);
  assert.deepEqual(all[200]?.outcomes, ['failed refused 7']);
});

test('connect: on a connection that is closed, refused later', async () => {
  using pair = new TunnelPair();
  pair.client.destroy('gone');
  const { outcomes } = ask(pair);
  assert.deepEqual(outcomes, []);
  await settle();
  assert.deepEqual(outcomes, ['failed refused 7']);
});

/** A server whose one request is held, and a client that has asked. */
async function held(): Promise<{
  pair: TunnelPair;
  request: HeldRequest;
  client: RecordingSink;
  gone: (StreamFailure | undefined)[];
}> {
  const gone: (StreamFailure | undefined)[] = [];
  let request: HeldRequest | undefined;
  const pair = new TunnelPair((stream) => (request = new HeldRequest(stream, (reason) => gone.push(reason))));
  const stream = pair.client.session.request([
    [':method', 'CONNECT'],
    [':authority', '10.0.0.1:80'],
  ]);
  const client = new RecordingSink(stream);
  await until(() => request !== undefined);
  return { pair, request: request as HeldRequest, client, gone };
}

test('held: what came early is handed over in order, then its end', async () => {
  const { pair, request, client, gone } = await held();
  using _ = pair;
  for (let at = 0; at < 100_000; at += 1000) client.stream.write(patternAt(at, 1000));
  client.stream.end();
  await until(() => request.stream.remoteEnded);
  const check = new PatternCheck();
  let sink: RecordingSink | undefined;
  request.open([['baggage', 'x=y']], () => {
    sink = new RecordingSink(request.stream);
    sink.data = (chunk) => {
      check.take(chunk);
      request.stream.consumed(chunk.length);
    };
    return sink;
  });
  assert.equal(check.at, 100_000);
  assert.deepEqual(sink?.events, ['ended']);
  await until(() => client.events.length > 0);
  assert.deepEqual(client.events, ['headers :status=200 baggage=x=y']);
  request.stream.end();
  await until(() => client.events.includes('closed'));
  assert.deepEqual(gone, []);
});

test('held: bytes that come after the hand-over go to the new sink', async () => {
  const { pair, request, client } = await held();
  using _ = pair;
  client.stream.write(Buffer.from('early '));
  await settle();
  let sink: RecordingSink | undefined;
  request.open([], () => (sink = new RecordingSink(request.stream)));
  client.stream.write(Buffer.from('late'));
  await settle();
  assert.equal(sink?.text, 'early late');
});

test('held: refused with a status, and every byte is credited', async () => {
  const { pair, request, client, gone } = await held();
  using _ = pair;
  const credited = countCredit(pair.server);
  client.stream.write(Buffer.alloc(10_000));
  await settle();
  assert.equal(credited(), 0);
  request.refuse(401);
  assert.equal(credited(), 10_000);
  client.stream.write(Buffer.alloc(500));
  await until(() => client.events.includes('headers :status=401'));
  await settle();
  assert.deepEqual(client.events, ['headers :status=401', 'ended', 'closed']);
  assert.ok(credited() === 10_500 || client.stream.gone);
  assert.equal(pair.server.session.streams.size, 0);
  assert.deepEqual(gone, [], 'who refuses is not told');
  request.refuse(503);
  request.open([], () => new RecordingSink(request.stream));
  await settle();
  assert.equal(client.events.length, 3);
});

test('held: refuse does nothing to a tunnel that is open', async () => {
  const { pair, request, client } = await held();
  using _ = pair;
  const sink = new RecordingSink(request.stream);
  request.open([], () => sink);
  request.stream.sink = sink;
  request.refuse(503);
  client.stream.write(Buffer.from('still open'));
  await settle();
  assert.equal(sink.text, 'still open');
});

for (const [name, leave, kind] of [
  [
    'resets',
    (pair: TunnelPair, client: RecordingSink) => (client.stream.reset(h2Error.cancel) as unknown) ?? pair,
    'reset',
  ],
  ['closes its connection', (pair: TunnelPair) => pair.client.destroy('gone'), 'session'],
] as const) {
  test(`held: a client that ${name} is told to its owner, once, and its bytes are credited`, async () => {
    const { pair, request, client, gone } = await held();
    using _ = pair;
    const credited = countCredit(pair.server);
    client.stream.write(Buffer.alloc(10_000));
    await settle();
    leave(pair, client);
    await until(() => gone.length > 0);
    assert.equal(credited(), 10_000);
    request.refuse(503);
    await settle();
    assert.deepEqual(
      gone.map((reason) => reason?.kind),
      [kind],
    );
  });
}

test('held: opened after the client has gone: the sink is attached and told nothing', async () => {
  const { pair, request, client } = await held();
  using _ = pair;
  client.stream.end();
  await until(() => request.stream.remoteEnded);
  client.stream.reset(h2Error.cancel);
  await until(() => request.stream.gone);
  let sink: RecordingSink | undefined;
  request.open([], () => (sink = new RecordingSink(request.stream)));
  assert.deepEqual(sink?.events, []);
});

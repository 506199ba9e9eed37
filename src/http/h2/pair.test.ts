// Our client and our server of HTTP/2, on a channel in memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import type { ClientConnection, RequestHead, ServerConnection } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import {
  channelPair,
  echo,
  RecordingClient,
  RecordingReceiver,
  RecordingServer,
  requestHead,
  settle,
  until,
  type MemoryChannel,
} from './channel-pair.ts';
import { h2Client } from './client.ts';
import type { H2Options } from './options.ts';
import { h2Server } from './server.ts';

interface Pair {
  readonly client: ClientConnection;
  readonly server: ServerConnection;
  readonly asking: RecordingClient;
  readonly serving: RecordingServer;
  readonly channels: readonly [MemoryChannel, MemoryChannel];
  ask(
    fields?: Partial<RequestHead>,
    ended?: boolean,
  ): { receiver: RecordingReceiver; exchange: ReturnType<ClientConnection['request']> };
}

async function pair(
  onRequest?: RecordingServer['onRequest'],
  options: { client?: H2Options; server?: H2Options; window?: number } = {},
): Promise<Pair> {
  const channels = channelPair(options.window);
  const asking = new RecordingClient();
  const serving = new RecordingServer();
  serving.onRequest = onRequest;
  const server = h2Server(channels[1], options.server ?? {}, serving);
  const client = h2Client(channels[0], options.client ?? {}, asking);
  assert.equal(client.capacity, 0, 'the settings are not here yet');
  await until(() => client.capacity > 0);
  assert.ok(asking.availableCount > 0);
  return {
    client,
    server,
    asking,
    serving,
    channels,
    ask(fields, ended = true) {
      const receiver = new RecordingReceiver();
      const exchange = client.request(requestHead(fields), ended, receiver);
      receiver.consume = (bytes) => exchange.consumed(bytes);
      return { receiver, exchange };
    },
  };
}

const ok = (
  contentLength?: number,
): { status: number; headers: HeaderMap; contentLength: number | undefined } => ({
  status: 200,
  headers: new HeaderMap(),
  contentLength,
});

test('a request without a body, and an answer with one', async () => {
  const { ask, serving, client, server } = await pair((exchange) => {
    exchange.respond(ok(5), false);
    exchange.write(Buffer.from('hello'));
    exchange.end();
  });
  const { receiver } = ask({ path: '/a', query: 'b=c', headers: new HeaderMap(['x-a', '1', 'x-a', '2']) });
  await until(() => receiver.over);
  assert.deepEqual(receiver.events, ['head 200', 'end']);
  assert.equal(receiver.heads[0]?.contentLength, 5);
  assert.equal(receiver.text, 'hello');
  const [exchange] = serving.exchanges;
  assert.equal(exchange?.requestEnded, true);
  assert.equal(exchange.request.path, '/a');
  assert.equal(exchange.request.query, 'b=c');
  assert.deepEqual(exchange.request.headers.all('x-a'), ['1', '2']);
  assert.deepEqual(serving.receivers[0]?.events, []);
  await until(() => client.openExchanges === 0 && server.openExchanges === 0);
});

test('trailers both ways, and informational answers', async () => {
  const { ask, serving } = await pair((exchange, receiver) => {
    exchange.inform(103, new HeaderMap(['link', '</a>']));
    echo(exchange, receiver);
  });
  const { receiver, exchange } = ask({ method: 'POST', contentLength: undefined }, false);
  exchange.write(Buffer.from('body'));
  exchange.end(new HeaderMap(['x-sum', '7', 'content-length', '9']));
  await until(() => receiver.over);
  assert.deepEqual(receiver.events, ['inform 103 link=</a>', 'head 200', 'end x-sum 7']);
  assert.equal(receiver.text, 'body');
  assert.deepEqual(serving.receivers[0]?.events, ['end x-sum 7']);
});

test('an answer of headers alone', async () => {
  const { ask } = await pair((exchange) =>
    exchange.respond({ ...ok(), headers: new HeaderMap(['grpc-status', '12']) }, true),
  );
  const { receiver } = ask({ method: 'POST', contentLength: undefined }, false);
  await until(() => receiver.over);
  assert.deepEqual(receiver.events, ['head 200 ended']);
  assert.equal(receiver.heads[0]?.headers.get('grpc-status'), '12');
});

for (const [name, method, status] of [
  ['HEAD', 'HEAD', 200],
  ['204', 'GET', 204],
  ['304', 'GET', 304],
] as const)
  test(`${name}: no body, whatever is written`, async () => {
    const { ask } = await pair((exchange) => {
      exchange.respond({ ...ok(100), status }, false);
      assert.equal(exchange.write(Buffer.from('body')), true);
      exchange.end();
    });
    const { receiver } = ask({ method });
    await until(() => receiver.over);
    assert.deepEqual(receiver.events, [`head ${status} ended`]);
    assert.equal(receiver.heads[0]?.contentLength, status === 204 ? undefined : 100);
  });

test('WebSocket over an extended CONNECT, asked and answered as an upgrade of HTTP/1.1', async () => {
  const { ask, serving } = await pair((exchange, receiver) => {
    exchange.respond({ ...ok(), status: 101 }, false);
    receiver.onData = (chunk) => exchange.write(chunk);
  });
  const { receiver, exchange } = ask(
    { version: '1.1', upgrade: 'websocket', contentLength: undefined },
    false,
  );
  exchange.write(Buffer.from('ping'));
  await until(() => receiver.text === 'ping');
  assert.deepEqual(receiver.events, ['head 101']);
  assert.equal(serving.exchanges[0]?.request.method, 'CONNECT');
  assert.equal(serving.exchanges[0].request.upgrade, 'websocket');
  // One direction ends, and the other goes on.
  serving.exchanges[0].end();
  await until(() => receiver.events.includes('end'));
  exchange.write(Buffer.from(' more'));
  await until(() => serving.receivers[0]?.text === 'ping more');
  exchange.end();
  await until(() => serving.receivers[0]?.events.includes('end') === true);
});

test('an extended CONNECT to a server that takes none is refused', async () => {
  const { ask } = await pair(undefined, { server: { extendedConnect: false } });
  const { receiver } = ask({ upgrade: 'websocket' }, false);
  await until(() => receiver.over);
  assert.equal(receiver.failure?.kind, 'refused');
});

test('an answer before the request has ended stops the request, and is received whole', async () => {
  const { ask, serving, client, server } = await pair((exchange) => {
    exchange.respond({ ...ok(), status: 413 }, false);
    exchange.write(Buffer.alloc(300_000, 'x'));
    exchange.end();
  });
  const { receiver, exchange } = ask({ method: 'POST', contentLength: 1_000_000 }, false);
  for (let i = 0; i < 5; i++) exchange.write(Buffer.alloc(10_000));
  await until(() => receiver.over);
  assert.deepEqual(receiver.events, ['head 413', 'end']);
  assert.equal(receiver.text.length, 300_000);
  await until(() => client.openExchanges === 0 && server.openExchanges === 0);
  assert.deepEqual(serving.receivers[0]?.events, []);
  assert.equal(exchange.write(Buffer.from('late')), true);
  exchange.end();
});

test('a large body each way is held by windows, and nothing is lost', async () => {
  const { ask, serving } = await pair(echo, {
    server: { windows: { streamWindow: 70_000 } },
    window: 50_000,
  });
  const { receiver, exchange } = ask({ method: 'POST', contentLength: 4_000_000 }, false);
  receiver.hold = true;
  let sent = 0;
  let fill = 0;
  const pump = (): void => {
    while (sent < 4_000_000) {
      sent += 40_000;
      if (!exchange.write(Buffer.alloc(40_000, fill++ % 251))) return;
    }
    exchange.end();
  };
  receiver.onWritable = pump;
  pump();
  for (let before = -1; before !== sent;) {
    before = sent;
    for (let i = 0; i < 10; i++) await settle();
  }
  assert.ok(sent < 3_800_000, `${sent} went out though nobody took them`);
  assert.ok(serving.receivers[0]);
  receiver.release();
  await until(() => receiver.over);
  const all = Buffer.concat(receiver.chunks);
  assert.equal(all.length, 4_000_000);
  for (let i = 0; i < 100; i++) assert.equal(all[i * 40_000 + 39_999], i % 251);
});

test('a body that does not fit its length breaks the stream only', async () => {
  for (const [sent, length] of [
    ['12345', 4],
    ['123', 4],
  ] as const) {
    const { ask, serving, client } = await pair();
    const { receiver, exchange } = ask({ method: 'POST', contentLength: length }, false);
    exchange.write(Buffer.from(sent));
    exchange.end();
    await until(() => receiver.over);
    assert.equal(receiver.failure?.kind, 'reset');
    assert.equal(serving.receivers[0]?.failure?.kind, 'protocol');
    assert.ok(client.capacity > 0);
  }
  for (const [sent, length] of [
    ['12345', 4],
    ['123', 4],
  ] as const) {
    const { ask, serving } = await pair((exchange) => {
      exchange.respond(ok(length), false);
      exchange.write(Buffer.from(sent));
      exchange.end();
    });
    const { receiver } = ask();
    await until(() => receiver.over);
    assert.equal(receiver.failure?.kind, 'protocol');
    assert.equal(receiver.text.length <= length, true);
    assert.equal(serving.closedCount, 0);
  }
});

test('either side ends an exchange at once', async () => {
  const { ask, serving, client, server } = await pair();
  const first = ask({ method: 'POST', contentLength: undefined }, false);
  await until(() => serving.exchanges.length === 1);
  first.exchange.reset();
  await until(() => serving.receivers[0]?.over === true);
  assert.equal(serving.receivers[0]?.failure?.kind, 'reset');
  const second = ask();
  await until(() => serving.exchanges.length === 2);
  serving.exchanges[1]?.reset();
  await until(() => second.receiver.over);
  assert.deepEqual(second.receiver.events, ['failed reset']);
  assert.deepEqual(first.receiver.events, []);
  assert.deepEqual(serving.receivers[1]?.events, []);
  assert.deepEqual([client.openExchanges, server.openExchanges], [0, 0]);
});

test('a client that goes away behind its request is told to the server', async () => {
  const { ask, serving } = await pair();
  const { exchange } = ask();
  await until(() => serving.exchanges.length === 1);
  exchange.reset();
  await until(() => serving.receivers[0]?.over === true);
  assert.deepEqual(serving.receivers[0]?.events, ['failed reset']);
});

test('a server drains: what is on its way is served, then nothing is taken, then it closes', async () => {
  const { ask, serving, client, server, asking } = await pair();
  const first = ask();
  await until(() => serving.exchanges.length === 1);
  server.drain();
  // The client does not know yet.
  const second = ask();
  await until(() => client.capacity === 0);
  await until(() => serving.exchanges.length === 2);
  for (const exchange of serving.exchanges) exchange.respond(ok(), true);
  await until(() => first.receiver.over && second.receiver.over);
  await until(() => serving.closedCount === 1 && asking.closings.length === 1);
  assert.deepEqual(asking.closings, [undefined]);
  const late = ask();
  await until(() => late.receiver.over);
  assert.equal(late.receiver.failure?.kind, 'refused');
});

test('a client drains: open exchanges end first', async () => {
  const { ask, serving, client, asking } = await pair(echo);
  const { receiver, exchange } = ask({ method: 'POST', contentLength: undefined }, false);
  client.drain();
  assert.equal(client.capacity, 0);
  exchange.end();
  await until(() => receiver.over && asking.closings.length === 1 && serving.closedCount === 1);
  assert.deepEqual(asking.closings, [undefined]);
});

test('requests over the limit of the server are refused, and safe to repeat', async () => {
  const { ask, client } = await pair(undefined, { server: { limits: { maxConcurrentStreams: 2 } } });
  assert.equal(client.capacity, 2);
  const three = [ask(), ask(), ask()];
  await until(() => three.some(({ receiver }) => receiver.over));
  assert.deepEqual(
    three.map(({ receiver }) => receiver.failure?.kind),
    [undefined, undefined, 'refused'],
  );
});

test('destroy tells every exchange, and the other side', async () => {
  const { ask, serving, client, asking } = await pair();
  const { receiver } = ask();
  await until(() => serving.exchanges.length === 1);
  client.destroy();
  assert.equal(receiver.failure?.kind, 'local');
  assert.equal(asking.closings[0]?.kind, 'local');
  await until(() => serving.closedCount === 1);
  assert.equal(serving.receivers[0]?.failure?.kind, 'reset');
});

test('a server that answers what cannot be is refused by the client', async () => {
  const { ask } = await pair((exchange) =>
    exchange.respond(
      { ...ok(), headers: new HeaderMap(Array.from({ length: 300 }, (_, i) => `h${i >> 1}`)) },
      true,
    ),
  );
  const { receiver } = ask();
  await until(() => receiver.over);
  assert.equal(receiver.failure?.kind, 'protocol');
});

test('an idle connection closes in order, a used one does not', async () => {
  const clock = new ManualClock();
  const limits = { idleTimeoutMs: 10_000 };
  const { ask, serving, asking } = await pair(undefined, { server: { clock, limits } });
  ask();
  await until(() => serving.exchanges.length === 1);
  clock.advance(60_000);
  await settle();
  assert.equal(asking.closings.length, 0);
  serving.exchanges[0]?.respond(ok(), true);
  await settle();
  clock.advance(20_000);
  await until(() => asking.closings.length === 1 && serving.closedCount === 1);
  assert.deepEqual(asking.closings, [undefined]);
});

test('keepalive: a peer that answers lives, one that does not is gone', async () => {
  const clock = new ManualClock();
  const keepalive = { intervalMs: 1000, timeoutMs: 500 };
  const { ask, asking, channels } = await pair(undefined, { client: { clock, keepalive } });
  const { receiver } = ask();
  for (let i = 0; i < 10; i++) {
    clock.advance(400);
    await settle();
  }
  assert.equal(asking.closings.length, 0);
  channels[0].peer = undefined;
  clock.advance(1000);
  await settle();
  clock.advance(1000);
  assert.match(asking.closings[0]?.message ?? '', /does not answer/);
  assert.equal(receiver.failure?.kind, 'reset');
});

test('one flush per turn: a burst of requests is one write', async () => {
  const { ask, channels, serving } = await pair();
  await settle();
  const before = channels[0].writes;
  for (let i = 0; i < 50; i++) ask({ path: `/${i}` });
  await until(() => serving.exchanges.length === 50);
  assert.equal(channels[0].writes - before, 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { HeaderMap } from '#/http/index.ts';
import { ManualClock, systemClock, type Clock } from '#/kit/index.ts';
import type { ExternalProcessing } from '#/model/index.ts';
import { processMethod } from '#/wire/index.ts';
import { ExternalChannels, ExternalProcessor, type Processing, type ProcessingOutcome } from './index.ts';
import { deadAddress, duplexServer, grpcError } from './test-services.ts';

type ResponseInit = Parameters<typeof processMethod.response.encode>[0];
type Answer = NonNullable<ResponseInit['response']>;
type Request = ReturnType<typeof processMethod.request.decode>;
type Stream = ServerDuplexStream<Request, ResponseInit>;

const head = HeaderMap.of([
  [':method', 'GET'],
  [':path', '/a'],
  ['x-name', Buffer.from('Zoë').toString('latin1')],
]);

async function processing(
  script: (stream: Stream) => void,
  use: (one: Processing, more: { channels: ExternalChannels; config: ExternalProcessing }) => Promise<void>,
  changes: Partial<ExternalProcessing> = {},
  clock: Clock = systemClock,
): Promise<void> {
  await using server = await duplexServer(processMethod, (stream) => {
    stream.on('error', () => {});
    script(stream);
  });
  using channels = new ExternalChannels();
  const config: ExternalProcessing = {
    server: server.address,
    timeoutMs: 30_000,
    failOpen: false,
    requestHeaders: true,
    responseHeaders: true,
    requestBody: 'STREAMED',
    responseBody: 'BUFFERED',
    ...changes,
  };
  const one = new ExternalProcessor(channels, clock).begin(config);
  try {
    await use(one, { channels, config });
  } finally {
    one.close();
  }
}

/** Answers each part by its kind. */
const answering =
  (answers: Partial<Record<NonNullable<Request['request']['case']>, Answer>>, seen: Request[] = []) =>
  (stream: Stream): void => {
    stream.on('data', (request: Request) => {
      seen.push(request);
      const answer = answers[request.request.case as keyof typeof answers];
      if (answer !== undefined) stream.write({ response: answer });
    });
    stream.on('end', () => stream.end());
  };

const option = (key: string, value: string) => ({ header: { key, rawValue: Buffer.from(value) } });

test('a request and its response go by, part by part', async () => {
  const seen: Request[] = [];
  const answers = answering(
    {
      requestHeaders: {
        case: 'requestHeaders',
        value: {
          response: {
            headerMutation: {
              setHeaders: [
                option('X-Seen', 'Zoë'),
                option(':path', '/b?c=1'),
                option(':method', 'PUT'),
                option('x-envoy-a', '1'),
              ],
              removeHeaders: ['Cookie', 'host'],
            },
            clearRouteCache: true,
          },
        },
      },
      requestBody: {
        case: 'requestBody',
        value: { response: { bodyMutation: { mutation: { case: 'body', value: Buffer.from('new') } } } },
      },
      responseHeaders: {
        case: 'responseHeaders',
        value: { response: { headerMutation: { setHeaders: [option(':status', '201')] } } },
      },
      responseBody: {
        case: 'responseBody',
        value: { response: { bodyMutation: { mutation: { case: 'clearBody', value: true } } } },
      },
    },
    seen,
  );
  await processing(answers, async (one) => {
    assert.deepEqual(await one.headers('request', head, false), {
      kind: 'continue',
      headers: [{ name: 'x-seen', value: Buffer.from('Zoë').toString('latin1'), action: 'set' }],
      removeHeaders: ['cookie'],
      path: '/b?c=1',
      done: false,
      clearRouteCache: true,
    });
    const body = await one.body('request', Buffer.from('old'), true);
    assert.ok(body.kind === 'continue' && body.body?.toString() === 'new');
    const response = await one.headers('response', HeaderMap.of([[':status', '200']]), false);
    assert.ok(response.kind === 'continue' && response.status === 201);
    const cleared = await one.body('response', Buffer.from('x'), true);
    assert.ok(cleared.kind === 'continue' && cleared.body?.length === 0);
  });
  assert.deepEqual(
    seen.map(({ request, protocolConfig }) => [
      request.case,
      protocolConfig?.requestBodyMode,
      protocolConfig?.responseBodyMode,
    ]),
    [
      ['requestHeaders', 1, 2],
      ['requestBody', undefined, undefined],
      ['responseHeaders', undefined, undefined],
      ['responseBody', undefined, undefined],
    ],
  );
  const first = seen[0]?.request;
  assert.ok(first?.case === 'requestHeaders' && !first.value.endOfStream);
  assert.deepEqual(
    first.value.headers?.headers.map(({ key, rawValue }) => [key, Buffer.from(rawValue).toString()]),
    [
      [':method', 'GET'],
      [':path', '/a'],
      ['x-name', 'Zoë'],
    ],
  );
});

test('a body instead of the one that would follow', async () => {
  const answers = answering({
    requestHeaders: {
      case: 'requestHeaders',
      value: {
        response: { status: 1, bodyMutation: { mutation: { case: 'body', value: Buffer.from('all') } } },
      },
    },
  });
  await processing(answers, async (one) => {
    const outcome = await one.headers('request', head, false);
    assert.ok(outcome.kind === 'continue' && outcome.done && outcome.body?.toString() === 'all');
  });
});

test('an answer of the service’s own; further parts go on', async () => {
  const answers = answering({
    requestHeaders: {
      case: 'immediateResponse',
      value: {
        status: { code: 418 },
        headers: { setHeaders: [option('x-a', '1')] },
        body: Buffer.from('no'),
        grpcStatus: { status: 7 },
        details: 'teapot',
      },
    },
  });
  await processing(answers, async (one) => {
    assert.deepEqual(await one.headers('request', head, true), {
      kind: 'respond',
      status: 418,
      headers: [{ name: 'x-a', value: '1', action: 'set' }],
      removeHeaders: [],
      body: Buffer.from('no'),
      grpcStatus: 7,
      details: 'teapot',
    });
    assert.equal((await one.headers('response', head, true)).kind, 'continue');
  });
});

test('a service that ends in good order has nothing more to say', () =>
  processing(
    (stream) => stream.end(),
    async (one) => {
      assert.equal((await one.headers('request', head, true)).kind, 'continue');
      assert.equal((await one.headers('response', head, true)).kind, 'continue');
    },
  ));

const malformed: Answer = {
  case: 'requestHeaders',
  value: { response: { headerMutation: { setHeaders: [option('x-a', 'b\nc')] } } },
};
const broken: readonly (readonly [string, (stream: Stream) => void])[] = [
  ['an error', (stream) => stream.emit('error', grpcError(13))],
  ['an answer to another part', answering({ requestHeaders: { case: 'responseBody', value: {} } })],
  ['an empty answer', (stream) => stream.write({})],
  ['a header that would break the message', answering({ requestHeaders: malformed })],
];

for (const [name, script] of broken)
  test(`${name}: 500, or let through if configured, also for what follows`, async () => {
    const outcomes: ProcessingOutcome[] = [];
    const twice = async (one: Processing): Promise<void> => {
      outcomes.push(await one.headers('request', head, true), await one.headers('response', head, true));
    };
    await processing(script, twice);
    await processing(script, twice, { failOpen: true });
    assert.deepEqual(
      outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.status : outcome.kind)),
      [500, 500, 'continue', 'continue'],
    );
  });

test('no answer in time is 504', async () => {
  const clock = new ManualClock();
  await processing(
    () => {},
    async (one) => {
      const asked = one.headers('request', head, true);
      clock.advance(30_000);
      const outcome = await asked;
      assert.ok(outcome.kind === 'failed' && outcome.status === 504, JSON.stringify(outcome));
    },
    {},
    clock,
  );
});

test('a stream that fails between parts is a failure of the next', async () => {
  const streams: Stream[] = [];
  const answers = answering({ requestHeaders: { case: 'requestHeaders', value: {} } });
  await processing(
    (stream) => {
      streams.push(stream);
      answers(stream);
    },
    async (one, { channels, config }) => {
      assert.equal((await one.headers('request', head, true)).kind, 'continue');
      streams[0]?.emit('error', grpcError(13));
      while (channels.inFlight(config.server) > 0) await new Promise((resolve) => setImmediate(resolve));
      assert.equal((await one.headers('response', head, true)).kind, 'failed');
    },
  );
});

test('nobody there is a failure; closing lets what waits go on', async () => {
  await processing(
    () => {},
    async (one, { channels, config }) => {
      const dead = new ExternalProcessor(channels, systemClock).begin({
        ...config,
        server: await deadAddress(),
      });
      const outcome = await dead.headers('request', head, true);
      assert.ok(outcome.kind === 'failed' && outcome.status === 500);
      dead.close();
      const asked = one.headers('request', head, true);
      one.close();
      assert.equal((await asked).kind, 'continue');
    },
  );
});

test('a service that does not end its stream is cut off', async () => {
  const clock = new ManualClock();
  await processing(
    (stream) => stream.on('data', () => stream.write({ response: { case: 'requestHeaders', value: {} } })),
    async (one, { channels, config }) => {
      await one.headers('request', head, true);
      one.close();
      assert.equal(channels.inFlight(config.server), 1);
      clock.advance(30_000);
      while (channels.inFlight(config.server) > 0) await new Promise((resolve) => setImmediate(resolve));
    },
    {},
    clock,
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap } from '#/http/index.ts';
import { silentLogger, systemClock } from '#/kit/index.ts';
import type { ExternalProcessing } from '#/model/index.ts';
import { processMethod } from '#/wire/index.ts';
import {
  ExternalChannels,
  ExternalProcessor,
  type Processing,
  type ProcessingOutcome,
} from '../../external/index.ts';
import { duplexServer } from '../../external/test-services.ts';
import { TestRun, type TestRequest } from '../requests/test-run.ts';
import { ProcessingFilter } from './processing-filter.ts';

const go: Extract<ProcessingOutcome, { kind: 'continue' }> = {
  kind: 'continue',
  headers: [],
  removeHeaders: [],
  done: false,
  clearRouteCache: false,
};
const no: ProcessingOutcome = {
  kind: 'respond',
  status: 418,
  headers: [{ name: 'x-a', value: '1', action: 'set' }],
  removeHeaders: [],
  body: Buffer.from('no'),
  details: 'teapot',
};
const set = (name: string, value: string) => ({ name, value, action: 'set' }) as const;

type Part = `${'request' | 'response'} ${'headers' | 'body'}`;

/** A service that answers by script, and what it was shown. */
class Scripted implements Processing {
  readonly seen: string[] = [];
  readonly #script: (part: Part, shown: string, headers: HeaderMap) => ProcessingOutcome;
  closed = 0;

  constructor(script: (part: Part, shown: string, headers: HeaderMap) => ProcessingOutcome) {
    this.#script = script;
  }
  headers(of: 'request' | 'response', headers: HeaderMap, ended: boolean): Promise<ProcessingOutcome> {
    const shown = `${headers.get(':status') ?? headers.get(':path')}${ended ? ' end' : ''}`;
    this.seen.push(`${of} ${shown}`);
    return Promise.resolve(this.#script(`${of} headers`, shown, headers));
  }
  body(of: 'request' | 'response', bytes: Buffer, ended: boolean): Promise<ProcessingOutcome> {
    this.seen.push(`${of} body ${bytes.toString().slice(0, 10)}${ended ? ' end' : ''}`);
    return Promise.resolve(this.#script(`${of} body`, bytes.toString(), new HeaderMap()));
  }
  close(): void {
    this.closed++;
  }
}

function process(
  script: (part: Part, shown: string, headers: HeaderMap) => ProcessingOutcome,
  changes: Partial<ExternalProcessing>,
  request?: TestRequest,
): TestRun & { service: Scripted } {
  const config: ExternalProcessing = {
    server: { hostname: 'ext', port: 1 },
    timeoutMs: 1000,
    failOpen: false,
    requestHeaders: true,
    responseHeaders: true,
    requestBody: 'NONE',
    responseBody: 'NONE',
    ...changes,
  };
  const service = new Scripted(script);
  const processor = { begin: () => service } as unknown as ExternalProcessor;
  return Object.assign(new TestRun([new ProcessingFilter(config, processor, silentLogger)], request), {
    service,
  });
}

const post: TestRequest = { method: 'POST', body: true };

test('heads are shown and changed, both ways', async () => {
  const one = process(
    (part) =>
      part === 'request headers'
        ? { ...go, headers: [set('x-in', '1')], removeHeaders: ['x-secret'], path: '/b?c=1' }
        : { ...go, headers: [set('x-out', '2')], status: 201 },
    {},
    { headers: [['x-secret', 'a']], query: 'q=1' },
  );
  const { client, destination, service } = await one.asked().then(() => one);
  assert.equal(destination.target, '/b?c=1');
  assert.deepEqual([...destination.headers.flat].slice(0, 2), ['x-in', '1']);
  destination.answer(200);
  destination.send('hello');
  destination.sendEnd();
  await one.over();
  assert.deepEqual([client.status, client.head?.headers.get('x-out'), client.text], [201, '2', 'hello']);
  assert.deepEqual(service.seen, ['request /items?q=1 end', 'response 200']);
  assert.equal(service.closed, 1);
});

test('bodies as a whole: replaced, with their length', async () => {
  const one = process(
    (part, shown) => (part.endsWith('body') ? { ...go, body: Buffer.from(shown.toUpperCase()) } : go),
    { requestBody: 'BUFFERED', responseBody: 'BUFFERED' },
    post,
  );
  one.client.send('ab');
  one.client.send('c');
  one.client.sendEnd();
  await one.asked();
  const { client, destination } = one;
  assert.deepEqual([destination.text, destination.contentLength, destination.ended], ['ABC', 3, true]);
  destination.answer(200);
  destination.send('de');
  destination.send('f');
  assert.equal(client.status, undefined);
  destination.sendEnd();
  await one.over();
  assert.deepEqual([client.text, client.head?.contentLength, client.ended], ['DEF', 3, true]);
  assert.deepEqual(one.service.seen, [
    'request /items',
    'request body abc end',
    'response 200',
    'response body def end',
  ]);
  assert.equal(destination.window, 3);
});

test('bodies chunk by chunk: in order, each with its window', async () => {
  const one = process(
    (part, shown) => (part.endsWith('body') ? { ...go, body: Buffer.from(`<${shown}>`) } : go),
    { requestBody: 'STREAMED', responseBody: 'STREAMED', responseHeaders: false },
    post,
  );
  const { client, destination } = one;
  client.send('a');
  await one.asked();
  client.send('b');
  client.send('c');
  client.sendEnd();
  await one.until(() => destination.ended);
  assert.equal(destination.text.replace(/<>$/, ''), '<a><b><c>');
  assert.equal(destination.contentLength, undefined);
  await one.until(() => client.window === 3);
  destination.answer(200);
  destination.send('d');
  destination.send('e');
  destination.sendEnd();
  await one.over();
  assert.equal(client.text.replace(/<>$/, ''), '<d><e>');
  assert.equal(destination.window, 2);
});

test('an answer of the service’s own at any part', async () => {
  const at = (part: Part, mode: 'BUFFERED' | 'STREAMED' = 'BUFFERED') => {
    const one = process((now) => (now === part ? no : go), { requestBody: mode, responseBody: mode }, post);
    one.client.send('abc');
    one.client.sendEnd();
    return one;
  };
  for (const part of ['request headers', 'request body'] as const) {
    const one = at(part);
    await one.over();
    assert.deepEqual([one.client.status, one.client.text, one.destination.asked], [418, 'no', false], part);
    assert.equal(one.client.head?.headers.get('x-a'), '1');
    assert.equal(one.outcome?.details, 'teapot');
    assert.equal(one.service.closed, 1);
  }
  for (const part of ['response headers', 'response body'] as const) {
    const one = at(part);
    await one.asked();
    one.destination.answer(200);
    one.destination.send('abc');
    one.destination.sendEnd();
    await one.over();
    assert.deepEqual([one.client.status, one.client.text], [418, 'no'], part);
  }
  // The head is with the client: all that is left is to cut it off.
  const cut = at('response body', 'STREAMED');
  await cut.asked();
  cut.destination.answer(200);
  await cut.until(({ client }) => client.status === 200);
  cut.destination.send('abc');
  await cut.over();
  assert.ok(cut.client.wasReset && cut.destination.wasReset);
});

test('a failure ends the request with its status', async () => {
  for (const status of [500, 504] as const) {
    const one = process(() => ({ kind: 'failed', status, error: 'no' }), {});
    await one.over();
    assert.deepEqual(
      [one.client.status, one.outcome?.details, one.destination.asked],
      [status, 'ext_proc_error', false],
    );
  }
});

test('a body instead of the one that follows, both ways', async () => {
  const one = process(
    (part) => (part.endsWith('headers') ? { ...go, done: true, body: Buffer.from('new') } : no),
    { requestBody: 'BUFFERED', responseBody: 'STREAMED' },
    post,
  );
  one.client.send('ab');
  await one.asked();
  one.client.send('c');
  one.client.sendEnd();
  await one.until(({ destination }) => destination.ended);
  assert.equal(one.destination.text, 'new');
  one.destination.answer(200);
  one.destination.send('old');
  await one.until(({ client }) => client.text === 'new');
  one.destination.sendEnd();
  await one.over();
  assert.deepEqual([one.client.text, one.client.head?.contentLength], ['new', 3]);
  assert.equal(one.destination.window, 3);
});

test('a body that is too long to be shown as a whole: 413 and 500', async () => {
  const config = { requestBody: 'BUFFERED', responseBody: 'BUFFERED' } as const;
  const request = process(() => go, config, post);
  for (let i = 0; i < 5; i++) request.client.send('x'.repeat(256 * 1024));
  await request.over();
  assert.equal(request.client.status, 413);
  const response = process(() => go, config);
  await response.asked();
  response.destination.answer(200);
  for (let i = 0; i < 5; i++) response.destination.send('x'.repeat(256 * 1024));
  await response.over();
  assert.deepEqual([response.client.status, response.outcome?.details], [500, 'response_payload_too_large']);
  assert.ok(response.destination.wasReset);
});

test('a path that is none refuses', async () => {
  const one = process(() => ({ ...go, path: 'b\r\nx: y' }), {});
  await one.over();
  assert.equal(one.client.status, 500);
});

test('a client that leaves: the service is told that nothing follows', async () => {
  const one = process(() => go, {});
  one.client.leave();
  await one.over();
  assert.equal(one.service.closed, 1);
  assert.ok(!one.destination.asked);
});

test('over gRPC: a head that is changed, a body in chunks, an answer that is not there', async () => {
  const option = (key: string, value: string) => ({ header: { key, rawValue: Buffer.from(value) } });
  await using server = await duplexServer(processMethod, (stream) => {
    stream.on('error', () => {});
    stream.on('data', ({ request }: ReturnType<typeof processMethod.request.decode>) => {
      if (request.case === 'requestHeaders')
        stream.write({
          response: {
            case: 'requestHeaders',
            value: { response: { headerMutation: { setHeaders: [option('x-in', '1')] } } },
          },
        });
      else if (request.case === 'requestBody') {
        const body = Buffer.from(Buffer.from(request.value.body).toString().toUpperCase());
        stream.write({
          response: {
            case: 'requestBody',
            value: { response: { bodyMutation: { mutation: { case: 'body', value: body } } } },
          },
        });
      } else stream.end();
    });
    stream.on('end', () => stream.end());
  });
  using channels = new ExternalChannels();
  const config: ExternalProcessing = {
    server: server.address,
    timeoutMs: 60_000,
    failOpen: false,
    requestHeaders: true,
    responseHeaders: true,
    requestBody: 'STREAMED',
    responseBody: 'NONE',
  };
  const processor = new ExternalProcessor(channels, systemClock);
  const one = new TestRun([new ProcessingFilter(config, processor, silentLogger)], post);
  one.client.send('ab');
  await one.asked();
  one.client.send('c');
  one.client.sendEnd();
  await one.until(({ destination }) => destination.ended);
  assert.deepEqual([one.destination.text, one.destination.headers.get('x-in')], ['ABC', '1']);
  one.destination.answer(204, [], true);
  await one.over();
  assert.equal(one.client.status, 204);
});

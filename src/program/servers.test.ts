import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { suite, test, type TestContext } from 'node:test';
import { errorText } from '#/errors/index.ts';
import type { LogLevel } from '#/kit/index.ts';
import { Readiness } from './readiness.ts';
import { startAdmin, startMetrics, startReadiness, type AdminActions, type Listening } from './servers.ts';

type Answer = readonly [status: number, type: string | null, body: string];

async function ask(port: number, target: string, init: RequestInit = {}): Promise<Answer> {
  const [method, path] = target.split(' ') as [string, string];
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...init });
  return [response.status, response.headers.get('content-type'), await response.text()];
}

function closing(t: TestContext, server: Listening): Listening {
  t.after(() => server[Symbol.asyncDispose]());
  return server;
}

async function admin(t: TestContext, actions: Partial<AdminActions> = {}) {
  let level: LogLevel = 'info';
  let quits = 0;
  const server = await startAdmin(0, {
    program: 'ztunnel',
    configDump: () => Promise.resolve({ workloads: [] }),
    logLevel: (wanted) => {
      if (wanted !== undefined) level = wanted === 'reset' ? 'info' : wanted;
      return level;
    },
    quit: () => {
      quits++;
    },
    ...actions,
  });
  closing(t, server);
  return { port: server.port, quits: () => quits };
}

const plain = 'text/plain; charset=utf-8';

suite('admin', () => {
  test('paths, methods and answers', async (t) => {
    const { port, quits } = await admin(t);
    const [status, type, body] = await ask(port, 'GET /');
    assert.deepEqual([status, type], [200, 'text/html; charset=utf-8']);
    assert.match(body, /config_dump/);
    const rows: readonly (readonly [string, ...Answer])[] = [
      ['GET /config_dump', 200, 'application/json', '{\n  "workloads": []\n}\n'],
      ['GET /nothing', 404, plain, 'not found\n'],
      ['GET /logging', 405, plain, 'use POST\n'],
      ['POST /logging', 200, plain, 'current log level is info\n'],
      ['POST /logging?level=', 200, plain, 'current log level is info\n'],
      ['POST /logging?level=debug', 200, plain, 'current log level is debug\n'],
      ['POST /logging?level=WARN', 200, plain, 'current log level is warn\n'],
      ['POST /logging?level=access=debug,proxy=error', 200, plain, 'current log level is error\n'],
      ['POST /logging', 200, plain, 'current log level is error\n'],
      [
        'POST /logging?level=loud',
        400,
        plain,
        '"loud" is no log level: use one of trace, debug, info, warn, error\n',
      ],
      [
        'POST /logging?level=loud,info',
        400,
        plain,
        '"loud,info" is no log level: use one of trace, debug, info, warn, error\n',
      ],
      [
        'POST /logging?reset&level=loud',
        400,
        plain,
        '"loud" is no log level: use one of trace, debug, info, warn, error\n',
      ],
      ['POST /logging', 200, plain, 'current log level is error\n'],
      ['POST /logging?reset', 200, plain, 'current log level is info\n'],
      ['POST /logging?reset&level=debug', 200, plain, 'current log level is debug\n'],
      ['GET /quitquitquit', 405, plain, 'use POST\n'],
    ];
    for (const [request, ...answer] of rows) assert.deepEqual(await ask(port, request), answer, request);
    assert.equal(quits(), 0);
    assert.deepEqual(await ask(port, 'POST /quitquitquit'), [200, plain, 'shutdown now\n']);
    assert.equal(quits(), 1);
  });

  test('a dump that fails is an answer, not the end', async (t) => {
    const { port } = await admin(t, { configDump: () => Promise.reject(new Error('no report')) });
    assert.deepEqual(await ask(port, 'GET /config_dump'), [500, plain, 'Error: no report\n']);
    assert.equal((await ask(port, 'GET /'))[0], 200);
  });

  test('garbage and an absurd request target', async (t) => {
    const { port } = await admin(t);
    const raw = (text: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect(port, '127.0.0.1');
        let got = '';
        socket.setEncoding('latin1');
        socket.on('data', (chunk: string) => (got += chunk));
        socket.on('end', () => resolve(got));
        socket.on('error', reject);
        socket.write(text);
      });
    assert.match(await raw('\x16\x03\x01\x02\x00\r\n\r\n'), /^HTTP\/1.1 400 /);
    assert.match(
      await raw('GET http://[ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'),
      /^HTTP\/1.1 400 /,
    );
    assert.match(
      await raw(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`),
      /^HTTP\/1.1 431 /,
    );
  });

  test('a port that is taken is named', async (t) => {
    const { port } = await admin(t);
    await assert.rejects(startAdmin(port, {} as AdminActions), (error) =>
      errorText(error).startsWith(`cannot listen on 127.0.0.1 port ${port}: listen EADDRINUSE: address`),
    );
  });
});

suite('metrics', () => {
  test('paths and content types', async (t) => {
    const { port } = closing(
      t,
      await startMetrics(0, () => Promise.resolve(['# TYPE a counter\n', 'a_total 1\n# EOF\n'])),
    );
    const text = '# TYPE a counter\na_total 1\n# EOF\n';
    const open = 'application/openmetrics-text;charset=utf-8;version=1.0.0';
    const prometheus =
      'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,*/*;q=0.1';
    const rows: readonly (readonly [string, string, ...Answer])[] = [
      ['GET /metrics', '*/*', 200, plain, text],
      ['GET /metrics', 'application/openmetrics-text', 200, open, text],
      ['GET /stats/prometheus', prometheus, 200, open, text],
      ['GET /stats', '*/*', 404, plain, 'not found\n'],
    ];
    for (const [request, accept, ...answer] of rows)
      assert.deepEqual(await ask(port, request, { headers: { accept } }), answer, `${request} ${accept}`);
  });

  test('a reader that hangs up in the middle of a large answer', async (t) => {
    let given = 0;
    function* pieces() {
      for (; given < 1000; given++) yield 'x'.repeat(64 * 1024);
    }
    const { port } = closing(t, await startMetrics(0, () => Promise.resolve(pieces())));
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(given < 1000, 'pieces are made as the reader takes them');
    const before = given;
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(given < before + 50, `made ${given} pieces, ${before} before the reader went`);
    assert.equal((await ask(port, 'GET /stats'))[0], 404);
  });
});

test('readiness: what is pending, sorted', async (t) => {
  const readiness = new Readiness(['state manager', 'workload proxy manager']);
  const { port } = closing(t, await startReadiness(0, readiness));
  const get = () => ask(port, 'GET /healthz/ready');
  assert.deepEqual(await get(), [500, plain, 'not ready, pending: state manager, workload proxy manager\n']);
  readiness.set('state manager', true);
  assert.deepEqual(await get(), [500, plain, 'not ready, pending: workload proxy manager\n']);
  readiness.set('workload proxy manager', true);
  assert.deepEqual(await get(), [200, plain, 'ready\n']);
  readiness.set('workload proxy manager', false);
  readiness.set('another', false);
  assert.deepEqual(await get(), [500, plain, 'not ready, pending: another, workload proxy manager\n']);
  assert.deepEqual(await ask(port, 'POST /healthz/ready'), [405, plain, 'use GET\n']);
  assert.deepEqual(await ask(port, 'GET /'), [404, plain, 'not found\n']);
});

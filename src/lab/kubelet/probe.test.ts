import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { ProbeLoop, probePort, runProbe, type ProbeTarget } from './probe.ts';

const target: ProbeTarget = {
  podIp: '127.0.0.1',
  nodeNetns: '/proc/self/ns/net',
  connect: (host, port) => connect({ host, port }),
  exec: (argv) => Promise.resolve({ code: argv[0] === 'true' ? 0 : 1, output: 'said' }),
};
const container = { name: 'c', ports: [{ name: 'web', containerPort: 8080 }] };

test('http: the status decides', async () => {
  const server = createServer((request, response) => {
    response.writeHead(request.url === '/ok' && request.headers['x-a'] === 'b' ? 204 : 503).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const ask = (path: string) =>
    runProbe(
      { httpGet: { path, port, httpHeaders: [{ name: 'X-A', value: 'b' }] } },
      container,
      target,
      1000,
    );
  assert.equal((await ask('/ok')).ok, true);
  assert.deepEqual(await ask('/bad'), { ok: false, message: 'HTTP probe failed with statuscode: 503' });
  server.close();
});

test('tcp: a connection is enough; a port that refuses, is silent or is no HTTP, fails', async () => {
  const server = createTcpServer((socket) => socket.on('error', () => {}).resume());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  assert.equal((await runProbe({ tcpSocket: { port } }, container, target, 1000)).ok, true);
  const silent = await runProbe({ httpGet: { port } }, container, target, 50);
  assert.match(silent.message, /no answer within 50 ms/);
  await new Promise((resolve) => server.close(resolve));
  assert.match((await runProbe({ tcpSocket: { port } }, container, target, 1000)).message, /ECONNREFUSED/);
});

test('exec: the exit code decides; unknown ways and ports are named', async () => {
  assert.equal((await runProbe({ exec: { command: ['true'] } }, container, target, 1000)).ok, true);
  assert.deepEqual(await runProbe({ exec: { command: ['false'] } }, container, target, 1000), {
    ok: false,
    message: 'said',
  });
  assert.match((await runProbe({ grpc: { port: 1 } }, container, target, 1000)).message, /not supported/);
  assert.match(
    (await runProbe({ tcpSocket: { port: 'no' } }, container, target, 1000)).message,
    /no port named "no"/,
  );
  assert.equal(probePort(container, 'web'), 8080);
  assert.equal(probePort(container, '90'), 90);
});

test('a loop tells changes by its thresholds, and nothing after it was ended', async () => {
  const clock = new ManualClock();
  const answers = [false, true, true, false, false, true, true];
  const verdicts: boolean[] = [];
  const loop = new ProbeLoop(
    { periodSeconds: 1, successThreshold: 2, failureThreshold: 2 },
    false,
    () => Promise.resolve({ ok: answers.shift() ?? true, message: '' }),
    { onVerdict: (ok) => verdicts.push(ok), onFailure: () => {} },
    clock,
  );
  const step = async (): Promise<void> => {
    clock.advance(1000);
    for (let i = 0; i < 5; i++) await Promise.resolve();
    await new Promise((resolve) => setImmediate(resolve));
  };
  for (let i = 0; i < 9; i++) await step();
  // The first failure is no news: it was not ready to begin with.
  assert.deepEqual(verdicts, [true, false, true]);
  loop[Symbol.dispose]();
  answers.push(false, false);
  for (let i = 0; i < 3; i++) await step();
  assert.equal(verdicts.length, 3);
});

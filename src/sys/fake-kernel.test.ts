// What the fake can do beyond the contract: addresses between namespaces, redirection, errors on demand.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import type { Kernel, Netns } from './kernel.ts';
import { FakeKernel } from './fake-kernel.ts';
import { socketFd } from './socket-fd.ts';

/** A server that sends what it knows of each connection. */
async function witness(kernel: Kernel, netns: Netns, port: number): Promise<Server> {
  const fd = kernel.tcpListener({ netns, host: '::', port });
  const server = createServer((socket) => {
    const at = socketFd(socket) as number;
    const told = {
      peer: kernel.peerAddress(at).ip,
      local: kernel.localAddress(at),
      original: kernel.originalDestination(at),
    };
    socket.end(JSON.stringify(told));
  });
  server.listen({ fd });
  await once(server, 'listening');
  return server;
}

async function ask(socket: Socket): Promise<unknown> {
  const [data] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return JSON.parse(data.toString());
}

test('a connection from pod to pod has the addresses of both', async () => {
  const kernel = new FakeKernel();
  using client = kernel.createNetns('client', '10.0.0.1');
  using server = kernel.createNetns('server', '10.0.0.2', 'fd00::2');
  await using _server = await witness(kernel, server, 80);
  const told = await ask(kernel.connect({ netns: client, ip: '10.0.0.2', port: 80 }));
  assert.deepEqual(told, { peer: '10.0.0.1', local: { ip: '10.0.0.2', port: 80 } });
});

test('rules capture what leaves the pod and what comes in, but not what is marked', async () => {
  const kernel = new FakeKernel();
  using client = kernel.createNetns('client', '10.0.0.1');
  using server = kernel.createNetns('server', '10.0.0.2');
  kernel.redirect(client, { outboundTo: 15001 });
  kernel.redirect(server, { inboundTo: 15006, inboundExcept: [15008] });
  await using _outbound = await witness(kernel, client, 15001);
  await using _inbound = await witness(kernel, server, 15006);
  await using _tunnel = await witness(kernel, server, 15008);
  await using _app = await witness(kernel, server, 80);
  const original = { ip: '10.0.0.2', port: 80 };
  const from = { netns: client, ...original };
  assert.deepEqual(await ask(kernel.connect(from)), {
    peer: '10.0.0.1',
    local: { ip: '127.0.0.1', port: 15001 },
    original,
  });
  assert.deepEqual(await ask(kernel.connect({ ...from, mark: 1337 })), {
    peer: '10.0.0.1',
    local: { ip: '10.0.0.2', port: 15006 },
    original,
  });
  assert.deepEqual(await ask(kernel.connect({ ...from, mark: 1337, port: 15008 })), {
    peer: '10.0.0.1',
    local: { ip: '10.0.0.2', port: 15008 },
  });
  // The proxy in the server's pod delivers, with the client's address.
  assert.deepEqual(
    await ask(kernel.connect({ netns: server, ...original, mark: 1337, bindIp: '10.0.0.1' })),
    {
      peer: '10.0.0.1',
      local: { ip: '10.0.0.2', port: 80 },
    },
  );
});

test('an address that nobody has is not reachable, and calls fail when told to', async () => {
  const kernel = new FakeKernel();
  using netns = kernel.createNetns('pod', '10.0.0.1');
  const socket = kernel.connect({ netns, ip: '10.0.0.9', port: 80 });
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'EHOSTUNREACH');
  kernel.failNext('tcpListener', 13);
  assert.throws(() => kernel.tcpListener({ netns, host: '::', port: 1 }), { code: 'EACCES' });
  kernel.close(kernel.tcpListener({ netns, host: '::', port: 1 }));
});

test('servers and clients of the real loopback take part', async () => {
  const kernel = new FakeKernel();
  using netns = kernel.createNetns('pod', '10.0.0.1');
  await using _server = await witness(kernel, netns, 80);
  const port = kernel.realPort(undefined, '10.0.0.1', 80) as number;
  const socket = connect(port, '127.0.0.1');
  assert.ok(((await ask(socket)) as { peer: string }).peer === '127.0.0.1');
  await using plain = createServer((client) => client.end('"plain"')).listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const real = (plain.address() as { port: number }).port;
  assert.equal(await ask(kernel.connect({ ip: '127.0.0.1', port: real })), 'plain');
});

test('a listener that node:net has closed frees its port', async () => {
  const kernel = new FakeKernel();
  using netns = kernel.createNetns('pod', '10.0.0.1');
  const server = await witness(kernel, netns, 80);
  assert.throws(() => kernel.tcpListener({ netns, host: '0.0.0.0', port: 80 }), { code: 'EADDRINUSE' });
  await server[Symbol.asyncDispose]();
  kernel.close(kernel.tcpListener({ netns, host: '0.0.0.0', port: 80 }));
});

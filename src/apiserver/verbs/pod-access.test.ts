// log, exec and port-forward reach the pod's kubelet, whatever it answers.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { connect as connectTls } from 'node:tls';
import { after, before, test } from 'node:test';
import { loadKubeconfig, nodes, pods } from '#/kube/index.ts';
import { pod, sharedServer } from '../test-server.ts';
import { kubeletPath } from './pod-access.ts';
import type { Item } from '../json.ts';

let kubelet: Server;
const asked: { method: string; url: string; headers: Record<string, unknown> }[] = [];

before(async () => {
  kubelet = createServer((request, response) => {
    asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
    if (request.url?.includes('missing') === true)
      response.writeHead(404, { 'content-type': 'text/plain' }).end('no such pod');
    else response.end('line 1\nline 2\n');
  });
  kubelet.on('upgrade', (request, socket) => {
    asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
    if (request.url?.includes('refused') === true) {
      socket.end('HTTP/1.1 409 Conflict\r\ncontent-length: 11\r\n\r\nnot running');
      return;
    }
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
    // An echo, in capitals.
    socket.on('data', (chunk: Buffer) => socket.write(chunk.toString().toUpperCase()));
  });
  await new Promise<void>((resolve) => kubelet.listen(0, '127.0.0.1', resolve));
});
after(() => {
  kubelet.closeAllConnections();
  kubelet.close();
});

const shared = sharedServer(
  {},
  {
    podAccess: {
      kubelet: (node) => {
        assert.equal(node.metadata.name, 'n1');
        return { host: '127.0.0.1', port: (kubelet.address() as { port: number }).port };
      },
      token: () => 'secret',
    },
  },
);

test('the paths are those of a kubelet', () => {
  const item = {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'p', namespace: 'n' },
    spec: { containers: [{ name: 'a' }, { name: 'b' }] },
  } as unknown as Item;
  const path = (sub: 'log' | 'exec' | 'attach' | 'portforward', query: string): string =>
    kubeletPath(item, sub, new URLSearchParams(query));
  assert.equal(
    path('log', 'container=b&follow=true&tailLines=5'),
    '/containerLogs/n/p/b?follow=true&tailLines=5',
  );
  assert.equal(
    path('exec', 'container=a&command=sh&command=-c&stdin=true&stdout=true&tty=false'),
    '/exec/n/p/a?input=1&output=1&command=sh&command=-c',
  );
  assert.equal(path('portforward', 'ports=80'), '/portForward/n/p?port=80');
  assert.throws(
    () => path('log', ''),
    /a container name must be specified for pod p, choose one of: \[a b\]/,
  );
  assert.throws(() => path('log', 'container=x'), /container x is not valid for pod p/);
});

test('log, exec and their refusals', async () => {
  const { client } = shared;
  const ns = await shared.fresh();
  await client.create(nodes, undefined, { metadata: { name: 'n1' } });
  for (const name of ['p', 'missing', 'refused']) await client.create(pods, ns, pod(name, 'n1'));
  const log = await shared.raw('GET', `/api/v1/namespaces/${ns}/pods/p/log?tailLines=2`);
  assert.deepEqual([log.code, log.text], [200, 'line 1\nline 2\n']);
  const last = asked.at(-1);
  assert.equal(last?.url, `/containerLogs/${ns}/p/c?tailLines=2`);
  assert.equal(last?.headers['authorization'], 'Bearer secret');
  const missing = await shared.raw('GET', `/api/v1/namespaces/${ns}/pods/missing/log`);
  assert.deepEqual([missing.code, missing.text], [404, 'no such pod']);
  assert.equal((await shared.raw('GET', `/api/v1/namespaces/${ns}/pods/nobody/log`)).code, 404);

  const { server, ca, clientCert, clientKey } = loadKubeconfig(shared.server.kubeconfig);
  const { hostname, port } = new URL(server);
  const exec = (name: string, credential = true): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connectTls({
        host: hostname,
        port: Number(port),
        ca,
        ...(credential ? { cert: clientCert, key: clientKey } : {}),
      });
      let text = '';
      socket.on('error', reject);
      socket.on('secureConnect', () =>
        socket.write(
          `GET /api/v1/namespaces/${ns}/pods/${name}/exec?command=sh&stdin=true&stdout=true HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-protocol: v5.channel.k8s.io\r\n\r\n`,
        ),
      );
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.endsWith('\r\n\r\n') && text.includes(' 101 ')) socket.write('hello');
        if (text.endsWith('HELLO')) socket.destroy();
      });
      socket.on('close', () => resolve(text));
    });
  assert.match(await exec('p'), /^HTTP\/1.1 101 Switching Protocols\r\n[^]*HELLO$/);
  assert.match(await exec('refused'), /^HTTP\/1.1 409 Conflict\r\n[^]*not running$/);
  assert.match(await exec('nobody'), /^HTTP\/1.1 404 [^]*"pods \\"nobody\\" not found"/);
  assert.match(await exec('p', false), /^HTTP\/1.1 401 /);
});

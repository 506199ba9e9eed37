// exec and port-forward with the kubectl that is installed: Debian's speaks SPDY, newer ones WebSocket, and the
// newest SPDY inside WebSocket. Behind the API server stands a kubelet that only knows WebSocket.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { after, before, test } from 'node:test';
import { nodes, pods } from '#/kube/index.ts';
import { eventually, pod, sharedServer } from '../test-server.ts';
import { SpdySession, dictionary, type SpdyStream } from './spdy.ts';
import { WebSocketStream } from './web-socket.ts';

let kubelet: Server;

function accept(request: IncomingMessage, socket: Duplex, protocol: string): void {
  const key = `${String(request.headers['sec-websocket-key'])}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${createHash('sha1').update(key).digest('base64')}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
  );
}

/** Says back what it hears in capitals, complains once, and ends well when it hears no more. */
function serveExec(socket: Duplex, head: Buffer, stdin: boolean): void {
  const web: WebSocketStream = new WebSocketStream(socket, head, false, {
    message(data) {
      if (data[0] === 0)
        web.send(Buffer.concat([Buffer.from([1]), Buffer.from(data.subarray(1).toString().toUpperCase())]));
      if (data[0] === 255) finish();
    },
    close: () => {},
  });
  const finish = (): void => {
    web.send(
      Buffer.concat([
        Buffer.from([3]),
        Buffer.from(
          JSON.stringify({
            metadata: {},
            status: 'Failure',
            reason: 'NonZeroExitCode',
            message: 'exit 7',
            details: { causes: [{ reason: 'ExitCode', message: '7' }] },
          }),
        ),
      ]),
    );
    web.close();
  };
  web.send(Buffer.from('\x02complaint\n', 'latin1'));
  web.send(Buffer.concat([Buffer.from([1]), Buffer.alloc(200_000, 'x'), Buffer.from('\n')]));
  if (!stdin) finish();
}

before(async () => {
  kubelet = createServer();
  kubelet.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    const url = new URL(request.url ?? '/', 'http://kubelet');
    if (url.pathname.startsWith('/exec/')) {
      accept(request, socket, String(request.headers['sec-websocket-protocol']).split(',')[0] as string);
      serveExec(socket, head, url.searchParams.get('input') === '1');
    } else if (url.pathname.startsWith('/portForward/') && url.searchParams.get('port') === '8080') {
      accept(request, socket, 'v4.channel.k8s.io');
      const web: WebSocketStream = new WebSocketStream(socket, head, false, {
        message: (data) =>
          void web.send(
            Buffer.concat([Buffer.from([0]), Buffer.from(data.subarray(1).toString().toUpperCase())]),
          ),
        close: () => {},
      });
      web.send(Buffer.from([0, 0x90, 0x1f]));
      web.send(Buffer.from([1, 0x90, 0x1f]));
    } else socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno port');
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
    podAccess: { kubelet: () => ({ host: '127.0.0.1', port: (kubelet.address() as { port: number }).port }) },
  },
);

async function withPod(): Promise<string> {
  const ns = await shared.fresh();
  await shared.client.ensure(nodes, undefined, { metadata: { name: 'n1' } });
  await shared.client.create(pods, ns, pod('p', 'n1'));
  await shared.client.patch(pods, ns, 'p', { status: { phase: 'Running' } }, 'merge', {
    subresource: 'status',
  });
  return ns;
}

function kubectl(args: readonly string[]) {
  return spawn('kubectl', ['--kubeconfig', shared.server.kubeconfig, ...args], {
    env: { PATH: process.env['PATH'], HOME: shared.dir },
  });
}

for (const stdin of [false, true])
  test(`kubectl exec ${stdin ? 'with' : 'without'} standard input`, async () => {
    const ns = await withPod();
    const child = kubectl(['-n', ns, 'exec', ...(stdin ? ['-i'] : []), 'p', '--', 'sh', '-c', 'x']);
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    if (stdin) {
      child.stdin.write('hello ');
      child.stdin.end('world');
    }
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.equal(out.replace(/x{200000}\n/, '[much]'), stdin ? '[much]HELLO WORLD' : '[much]', err);
    assert.match(err, /complaint/);
    assert.equal(code, 7);
  });

test('kubectl port-forward, several connections', async () => {
  const ns = await withPod();
  const child = kubectl(['-n', ns, 'port-forward', 'pod/p', ':8080', '--address', '127.0.0.1']);
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const port = await new Promise<number>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const match = /127\.0\.0\.1:(\d+) -> 8080/.exec(text);
      if (match !== null) resolve(Number(match[1]));
    });
    child.on('close', () => reject(new Error(`kubectl ended: ${errors}`)));
  });
  const say = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(text));
      socket.on('error', reject);
      socket.on('data', (chunk: Buffer) => {
        socket.destroy();
        resolve(chunk.toString());
      });
    });
  assert.deepEqual(await Promise.all([say('one'), say('two'), say('three')]), ['ONE', 'TWO', 'THREE']);
  assert.equal(await say('four'), 'FOUR');
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGINT');
  await ended;
});

test('SPDY frames in pieces, and garbage', async () => {
  assert.equal(dictionary.length, 1423);
  const opened: SpdyStream[] = [];
  let ended: Error | undefined | null = null;
  const make = (): SpdySession =>
    new SpdySession(() => true, {
      stream: (stream) => void opened.push(stream),
      close: (reason) => (ended = reason),
    });
  const { createDeflate, constants } = await import('node:zlib');
  const deflate = createDeflate({ dictionary });
  const parts: Buffer[] = [];
  deflate.on('data', (part: Buffer) => parts.push(part));
  const text = (value: string): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(value.length);
    return Buffer.concat([length, Buffer.from(value)]);
  };
  deflate.write(Buffer.concat([Buffer.from([0, 0, 0, 1]), text('Streamtype'), text('stdin')]));
  await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()));
  const body = Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...parts]);
  const head = Buffer.from([0x80, 0x03, 0, 1, 0, 0, 0, body.length]);
  const data = Buffer.from([0, 0, 0, 1, 1, 0, 0, 2, 0x68, 0x69]);
  const session = make();
  const heard: string[] = [];
  for (const byte of Buffer.concat([head, body])) session.feed(Buffer.from([byte]));
  const stream = await eventually(() => opened[0]);
  assert.deepEqual([stream.id, stream.headers], [1, { streamtype: 'stdin' }]);
  stream.onData = (chunk) => void heard.push(chunk.toString());
  stream.onEnd = () => void heard.push('end');
  session.feed(data);
  await eventually(() => (heard.length === 2 ? true : undefined));
  assert.deepEqual(heard, ['hi', 'end']);
  session[Symbol.dispose]();

  const bad = make();
  bad.feed(Buffer.from([0x80, 0x03, 0, 1, 0, 0, 0, 20, ...Array.from({ length: 20 }, () => 0x41)]));
  await eventually(() => (ended === null ? undefined : true));
  assert.ok((ended as unknown) instanceof Error);
  ended = null;
  const long = make();
  long.feed(Buffer.from([0, 0, 0, 1, 0, 0xff, 0xff, 0xff]));
  await eventually(() => (ended === null ? undefined : true));
  assert.match(String(ended), /too long/);
});

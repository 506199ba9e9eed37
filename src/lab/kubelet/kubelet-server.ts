// What the API server asks of a kubelet, on port 10250 of the node: logs and exec, by a kubelet's own paths.
// Plain HTTP, and only for addresses of the nodes: the API server is on one of them.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { join } from 'node:path';
import { errorText } from '#/errors/index.ts';
import type { Netns } from '#/sys/index.ts';
import { kubeletPort } from '../address-plan.ts';
import { execArgv } from '../runtime/exec.ts';
import { followLog, tailOf } from '../runtime/log-reader.ts';
import { runDirs, type ContainerRunner } from './container-runner.ts';
import { serveWebSocketExec, webSocketProtocols } from './exec-channels.ts';
import type { Kubelet } from './kubelet.ts';
import { serveSpdyExec, serveSpdyForward, spdyExecProtocols, spdyForwardProtocol } from './spdy-services.ts';
import { podPlaces } from './kubelet-context.ts';
import { forwardProtocol, serveForward } from './port-forward.ts';
import { acceptKey } from './websocket.ts';

class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export class KubeletServer {
  readonly #kubelet: Kubelet;
  readonly #server: Server;
  readonly #abort = new AbortController();

  constructor(kubelet: Kubelet) {
    this.#kubelet = kubelet;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        const status = error instanceof Refusal ? error.status : 500;
        if (response.headersSent) response.destroy();
        else response.writeHead(status, { 'content-type': 'text/plain' }).end(errorText(error));
      });
    });
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  start(): void {
    const { kernel, netns, node } = this.#kubelet.context;
    const host = node.ips.some((ip) => ip.includes(':')) ? '::' : '0.0.0.0';
    const fd = kernel.tcpListener({ netns, host, port: kubeletPort });
    this.#server.listen({ fd });
  }

  stop(): void {
    this.#abort.abort();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #checkPeer(request: IncomingMessage): void {
    const peer = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
    const { plan } = this.#kubelet.context;
    if (!plan.nodes.some(({ ips }) => ips.includes(peer)) && peer !== '127.0.0.1' && peer !== '::1')
      throw new Refusal(403, `${peer} is not a node: ask through the API server`);
  }

  #find(namespace: string, name: string, container: string | undefined): ContainerRunner {
    const worker = this.#kubelet.worker(namespace, name);
    if (worker === undefined)
      throw new Refusal(404, `pod ${namespace}/${name} is not on node ${this.#kubelet.context.node.name}`);
    const runner = worker.container(container);
    if (runner === undefined)
      throw new Refusal(404, `pod ${namespace}/${name} has no container "${container}"`);
    return runner;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#checkPeer(request);
    const url = new URL(request.url ?? '/', 'http://kubelet');
    const [, what, namespace = '', name = '', container] = url.pathname.split('/').map(decodeURIComponent);
    if (what === 'healthz') {
      response.end('ok');
      return;
    }
    if (what !== 'containerLogs') throw new Refusal(404, `no such path: ${url.pathname}`);
    const runner = this.#find(namespace, name, container);
    await this.#logs(runner, url.searchParams, response);
  }

  async #logs(runner: ContainerRunner, query: URLSearchParams, response: ServerResponse): Promise<void> {
    const current = runner.runDir;
    if (current === undefined)
      throw new Refusal(400, `container "${runner.spec.name}" is waiting to start: it has no log yet`);
    let dir = current;
    if (query.get('previous') === 'true') {
      const runs = runDirs(join(current, '..'));
      const before = runs.at(-2);
      if (before === undefined)
        throw new Refusal(400, `previous terminated container "${runner.spec.name}" not found`);
      dir = join(current, '..', String(before));
    }
    const tail = query.get('tailLines');
    const path = join(dir, 'log');
    const { text, end } = tailOf(path, tail === null || tail === '' ? undefined : Number(tail));
    response.writeHead(200, { 'content-type': 'text/plain' });
    const limit = Number(query.get('limitBytes') ?? 0);
    response.write(limit > 0 ? Buffer.from(text).subarray(0, limit) : text);
    if (query.get('follow') !== 'true') {
      response.end();
      return;
    }
    const ended = new AbortController();
    const stop = (): void => ended.abort();
    response.on('close', stop);
    this.#abort.signal.addEventListener('abort', stop, { once: true });
    // As kubectl expects: the stream ends with the container's run.
    const timer = setInterval(() => {
      if (runner.runDir !== current || !runner.active) setTimeout(stop, 300).unref();
    }, 500);
    await followLog(path, end, (chunk) => response.write(chunk), ended.signal);
    clearInterval(timer);
    this.#abort.signal.removeEventListener('abort', stop);
    response.end();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    try {
      this.#checkPeer(request);
      const url = new URL(request.url ?? '/', 'http://kubelet');
      const [, what, namespace = '', name = '', container] = url.pathname.split('/').map(decodeURIComponent);
      if (what === 'exec') this.#exec(request, socket, head, url.searchParams, namespace, name, container);
      else if (what === 'portForward')
        this.#forward(request, socket, head, namespace, name, url.searchParams);
      else throw new Refusal(404, `no such path: ${url.pathname}`);
    } catch (error) {
      const code = error instanceof Refusal ? error.status : 500;
      const status = {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message: errorText(error),
        code,
      };
      const text = JSON.stringify(status);
      socket.end(
        `HTTP/1.1 ${code} Refused\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
      );
    }
  }

  #exec(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    query: URLSearchParams,
    namespace: string,
    name: string,
    container: string | undefined,
  ): void {
    const runner = this.#find(namespace, name, container);
    const { state } = runner;
    if (state?.kind !== 'running')
      throw new Refusal(409, `container "${runner.spec.name}" of pod ${namespace}/${name} does not run`);
    const flag = (...names: string[]): boolean =>
      names.some((key) => ['1', 'true'].includes(query.get(key) ?? ''));
    const command = query.getAll('command');
    if (command.length === 0) throw new Refusal(400, 'exec needs a command');
    const tty = flag('tty');
    const stdin = flag('input', 'stdin');
    const argv = execArgv({ pid: state.pid, cgroup: runner.cgroup }, command, tty);
    if (isSpdy(request)) {
      const protocol = chosen(request.headers['x-stream-protocol-version'], spdyExecProtocols);
      socket.write(switching('SPDY/3.1', `X-Stream-Protocol-Version: ${protocol}`));
      const wanted = { stdin, tty, stdout: flag('output', 'stdout'), stderr: flag('error', 'stderr') };
      serveSpdyExec(socket, head, argv, wanted);
      return;
    }
    const protocol = chosen(request.headers['sec-websocket-protocol'], webSocketProtocols);
    socket.write(webSocketAccept(request, protocol));
    serveWebSocketExec(socket, head, argv, stdin);
  }

  #forward(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    namespace: string,
    name: string,
    query: URLSearchParams,
  ): void {
    const { context } = this.#kubelet;
    const { kernel } = context;
    const pod = this.#kubelet.worker(namespace, name)?.pod;
    if (pod === undefined)
      throw new Refusal(404, `pod ${namespace}/${name} is not on node ${context.node.name}`);
    const openNetns = (): Netns =>
      pod.spec.hostNetwork === true
        ? kernel.duplicateNetns(context.netns)
        : kernel.openNetns(podPlaces(context, pod).sandbox.netns);
    if (isSpdy(request)) {
      const protocol = chosen(request.headers['x-stream-protocol-version'], [spdyForwardProtocol]);
      const netns = openNetns();
      socket.on('close', () => netns[Symbol.dispose]());
      socket.write(switching('SPDY/3.1', `X-Stream-Protocol-Version: ${protocol}`));
      serveSpdyForward(socket, head, (port) =>
        kernel.connect({ netns, ip: '127.0.0.1', port, noDelay: true }),
      );
      return;
    }
    // A newer kubectl offers a WebSocket of its own kind first, and takes the refusal as a reason to use SPDY.
    const protocol = chosen(request.headers['sec-websocket-protocol'], [forwardProtocol]);
    const ports = query.getAll('port').flatMap((text) => text.split(','));
    const port = Number(ports[0]);
    if (ports.length !== 1 || !Number.isInteger(port) || port < 1 || port > 65535)
      throw new Refusal(400, 'port forwarding takes one port from 1 to 65535 per connection');
    // The socket is made at once, and stays in its namespace.
    using netns = openNetns();
    socket.write(webSocketAccept(request, protocol));
    serveForward(socket, head, kernel, netns, port);
  }
}

const webSocketAccept = (request: IncomingMessage, protocol: string): string =>
  switching(
    'websocket',
    `Sec-WebSocket-Accept: ${acceptKey(String(request.headers['sec-websocket-key'] ?? ''))}`,
    `Sec-WebSocket-Protocol: ${protocol}`,
  );

const isSpdy = (request: IncomingMessage): boolean =>
  String(request.headers.upgrade ?? '').toUpperCase() === 'SPDY/3.1';

const switching = (protocol: string, ...lines: string[]): string =>
  ['HTTP/1.1 101 Switching Protocols', `Upgrade: ${protocol}`, 'Connection: Upgrade', ...lines, '', ''].join(
    '\r\n',
  );

/** The first of ours that the client offers. */
function chosen(offered: string | string[] | undefined, ours: readonly string[]): string {
  const list = [offered ?? []]
    .flat()
    .flatMap((line) => line.split(','))
    .map((one) => one.trim());
  const found = ours.find((protocol) => list.includes(protocol));
  if (found === undefined)
    throw new Refusal(400, `none of the protocols ${list.join(', ')} is one of ${ours.join(', ')}`);
  return found;
}

// What the API server asks of a kubelet, on port 10250 of the node: logs and exec, by a kubelet's own paths.
// Plain HTTP, and only for addresses of the nodes: the API server is on one of them.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { join } from 'node:path';
import { errorText } from '#/errors/index.ts';
import { kubeletPort } from '../address-plan.ts';
import { execArgv } from '../runtime/exec.ts';
import { followLog, tailOf } from '../runtime/log-reader.ts';
import { runDirs, type ContainerRunner } from './container-runner.ts';
import { execProtocols, serveExec } from './exec-channels.ts';
import type { Kubelet } from './kubelet.ts';
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
      if (what === 'portForward') {
        this.#forward(request, socket, head, namespace, name, url.searchParams);
        return;
      }
      if (what !== 'exec') throw new Refusal(404, `no such path: ${url.pathname}`);
      const offered = String(request.headers['sec-websocket-protocol'] ?? '')
        .split(',')
        .map((protocol) => protocol.trim());
      const protocol = execProtocols.find((known) => offered.includes(known));
      if (protocol === undefined)
        throw new Refusal(
          400,
          `exec needs a WebSocket of ${execProtocols.join(' or ')}: use kubectl 1.30 or newer`,
        );
      const runner = this.#find(namespace, name, container);
      const { state } = runner;
      if (state?.kind !== 'running')
        throw new Refusal(409, `container "${runner.spec.name}" of pod ${namespace}/${name} does not run`);
      const query = url.searchParams;
      const flag = (...names: string[]): boolean =>
        names.some((key) => ['1', 'true'].includes(query.get(key) ?? ''));
      const command = query.getAll('command');
      if (command.length === 0) throw new Refusal(400, 'exec needs a command');
      const tty = flag('tty');
      const argv = execArgv({ pid: state.pid, cgroup: runner.cgroup }, command, tty);
      acceptUpgrade(request, socket, protocol);
      serveExec(socket, head, argv, { stdin: flag('input', 'stdin'), tty });
    } catch (error) {
      const status = error instanceof Refusal ? error.status : 500;
      const text = errorText(error);
      socket.end(
        `HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
      );
    }
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
    const pod = this.#kubelet.worker(namespace, name)?.pod;
    if (pod === undefined)
      throw new Refusal(404, `pod ${namespace}/${name} is not on node ${context.node.name}`);
    if (!String(request.headers['sec-websocket-protocol'] ?? '').includes(forwardProtocol))
      throw new Refusal(400, `port forwarding needs a WebSocket of ${forwardProtocol}`);
    const ports = query.getAll('port').flatMap((text) => text.split(','));
    const port = Number(ports[0]);
    if (ports.length !== 1 || !Number.isInteger(port) || port < 1 || port > 65535)
      throw new Refusal(400, 'port forwarding takes one port from 1 to 65535 per connection');
    const own = pod.spec.hostNetwork === true;
    const netns = own ? context.netns : context.kernel.openNetns(podPlaces(context, pod).sandbox.netns);
    try {
      acceptUpgrade(request, socket, forwardProtocol);
      serveForward(socket, head, context.kernel, netns, port);
    } finally {
      // The socket is made; it stays in its namespace.
      if (!own) netns[Symbol.dispose]();
    }
  }
}

function acceptUpgrade(request: IncomingMessage, socket: Duplex, protocol: string): void {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${acceptKey(String(request.headers['sec-websocket-key'] ?? ''))}\r\n` +
      `Sec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
  );
}

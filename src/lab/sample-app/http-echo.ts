// HTTP/1.1 and HTTP/2 (with prior knowledge) on one port. A body comes back as it is; a request without one gets a
// report of what was seen, as JSON.
//
// Headers that ask for more: `x-echo-status` for another status, `x-echo-delay` (milliseconds) for a late answer,
// `x-echo-fail` for failures (see EchoMemory), `x-echo-remember: key` keeps the report of the request, and
// `x-echo-recall: key` asks for the reports kept. `x-echo-set-<name>` comes back as the response header `<name>`.
import { createServer as createHttp1, type IncomingMessage } from 'node:http';
import { createServer as createHttp2, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { acceptKey, WebSocket } from '../kubelet/websocket.ts';
import type { EchoMemory } from './echo-memory.ts';

/** Who answers. */
export interface EchoSelf {
  readonly podName: string;
  readonly version: string;
}

export interface EchoReport {
  readonly pod: string;
  readonly version: string;
  readonly protocol: string;
  readonly method: string;
  /** With the query, as received. */
  readonly path: string;
  readonly host: string;
  /** By lower-case name; several of one name joined with `, `. */
  readonly headers: Readonly<Record<string, string>>;
}

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

const header = (request: Request, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
};

function reportOf(request: Request, { podName, version }: EchoSelf): EchoReport {
  const headers: Record<string, string> = {};
  for (const name of Object.keys(request.headers))
    if (!name.startsWith(':')) headers[name] = header(request, name) ?? '';
  return {
    pod: podName,
    version,
    protocol: `HTTP/${request.httpVersion}`,
    method: request.method ?? '',
    path: request.url ?? '',
    host: header(request, ':authority') ?? header(request, 'host') ?? '',
    headers,
  };
}

const hasBody = (request: Request): boolean =>
  request.httpVersionMajor === 2
    ? !(request as Http2ServerRequest).stream.endAfterHeaders
    : request.headers['transfer-encoding'] !== undefined ||
      Number(request.headers['content-length'] ?? 0) > 0;

function answer(request: Request, response: Response, self: EchoSelf, memory: EchoMemory): void {
  const report = reportOf(request, self);
  memory.remember(report.headers['x-echo-remember'], report);
  const wanted: Record<string, string> = {};
  for (const [name, value] of Object.entries(report.headers))
    if (name.startsWith('x-echo-set-')) wanted[name.slice('x-echo-set-'.length)] = value;
  const failure = memory.failure(report.headers['x-echo-fail']);
  if (failure === 'hang') return;
  if (failure === 'reset') {
    if (request.httpVersionMajor === 2) (request as Http2ServerRequest).stream.close(2);
    else request.socket.destroy();
    return;
  }
  const status = failure ?? Number(report.headers['x-echo-status'] ?? 200);
  const told = { 'x-pod': self.podName, 'x-version': self.version, ...wanted };
  const writeHead = (headers: Record<string, string>): void => {
    (response as ServerResponse).writeHead(status, { ...headers, ...told });
  };
  const key = report.headers['x-echo-recall'];
  if (key === undefined && hasBody(request)) {
    writeHead({ 'content-type': report.headers['content-type'] ?? 'text/plain' });
    (request as IncomingMessage).pipe(response as ServerResponse);
    return;
  }
  const text = JSON.stringify(key === undefined ? report : memory.recall(key));
  writeHead({ 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) });
  response.end(text);
}

function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, self: EchoSelf): void {
  const key = request.headers['sec-websocket-key'];
  if (request.headers.upgrade?.toLowerCase() !== 'websocket' || key === undefined) {
    socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
    return;
  }
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${acceptKey(key)}\r\nx-pod: ${self.podName}\r\nx-version: ${self.version}\r\n\r\n`,
  );
  const peer = new WebSocket(socket, head, {
    onMessage: (data, text) => {
      if (!peer.send(data, text)) peer.pause();
    },
    onClose: () => {},
  });
  peer.onDrain(() => peer.resume());
}

/** Told apart by the first bytes: those of HTTP/2's preface are no method of HTTP/1.1. */
const http2Start = Buffer.from('PRI ');

export function httpEcho(self: EchoSelf, memory: EchoMemory): Server {
  const delayed = (request: Request, response: Response): void => {
    const delayMs = Number(header(request, 'x-echo-delay') ?? 0);
    if (delayMs > 0) setTimeout(() => answer(request, response, self, memory), delayMs);
    else answer(request, response, self, memory);
  };
  const http1 = createHttp1(delayed);
  http1.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
    upgrade(request, socket, head, self),
  );
  const http2 = createHttp2(delayed);
  http2.on('sessionError', () => {});
  const give = (socket: Socket): void => {
    const first = socket.read() as Buffer | null;
    if (first === null) {
      if (!socket.readableEnded && !socket.destroyed) socket.once('readable', () => give(socket));
      return;
    }
    socket.unshift(first);
    const known = Math.min(first.length, http2Start.length);
    if (first.subarray(0, known).equals(http2Start.subarray(0, known))) http2.emit('connection', socket);
    else {
      http1.emit('connection', socket);
      // HTTP/2 reads what was put back by itself.
      socket.resume();
    }
  };
  return createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('readable', () => give(socket));
  });
}

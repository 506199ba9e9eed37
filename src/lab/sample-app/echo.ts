// Echoes for tests of protocols: bytes over TCP, messages over WebSocket (and HTTP), calls over gRPC. Each tells the
// pod that it is.
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  Metadata,
  Server as GrpcServer,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { acceptKey, WebSocket } from '../kubelet/websocket.ts';

export interface EchoOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly ports: { readonly tcp: number; readonly http: number; readonly grpc: number };
  readonly podName: string;
}

export interface EchoApp extends AsyncDisposable {
  readonly ports: EchoOptions['ports'];
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

/** What a connection brings comes back, after a line with the pod's name: a server that speaks first. */
function tcpEcho(podName: string): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    socket.write(`${podName}\n`);
    socket.pipe(socket);
    socket.on('error', () => socket.destroy());
  });
}

function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, podName: string): void {
  const key = request.headers['sec-websocket-key'];
  if (request.headers.upgrade?.toLowerCase() !== 'websocket' || key === undefined) {
    socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
    return;
  }
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${acceptKey(key)}\r\nx-pod: ${podName}\r\n\r\n`,
  );
  const peer = new WebSocket(socket, head, {
    onMessage: (data, text) => {
      if (!peer.send(data, text)) peer.pause();
    },
    onClose: () => {},
  });
  peer.onDrain(() => peer.resume());
}

function httpEcho(podName: string) {
  const server = createHttpServer((request, response) => {
    response.writeHead(200, {
      'content-type': request.headers['content-type'] ?? 'text/plain',
      'x-pod': podName,
    });
    request.pipe(response);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
    upgrade(request, socket, head, podName),
  );
  return server;
}

const asIs = (bytes: Buffer): Buffer => bytes;
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});

/** Messages are taken as bytes, so that any client's message comes back. */
export const echoService = {
  Say: method('/aura.echo.v1.Echo/Say', false, false),
  Talk: method('/aura.echo.v1.Echo/Talk', true, true),
};

function grpcEcho(podName: string): GrpcServer {
  const server = new GrpcServer();
  const told = (): Metadata => {
    const metadata = new Metadata();
    metadata.set('x-pod', podName);
    return metadata;
  };
  server.addService(echoService, {
    // Metadata `x-status` asks for a status other than OK.
    Say: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
      const [status] = call.metadata.get('x-status');
      call.sendMetadata(told());
      if (status === undefined) answer(null, call.request);
      else answer({ code: Number(status), details: 'failed on demand' });
    },
    Talk: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.sendMetadata(told());
      call.on('data', (message: Buffer) => {
        if (!call.write(message)) call.pause();
      });
      call.on('drain', () => call.resume());
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
  });
  return server;
}

/** Resolves when all listen; rejects if one cannot. */
export async function startEcho({ host, ports, podName }: EchoOptions): Promise<EchoApp> {
  await using parts = new AsyncDisposableStack();
  const sockets = new Set<Duplex>();
  const track = (server: Server): void => {
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    parts.defer(
      () =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          for (const socket of sockets) socket.destroy();
        }),
    );
  };
  const [plain, web] = [tcpEcho(podName), httpEcho(podName)];
  const tcp = await listen(plain, ports.tcp, host);
  track(plain);
  const http = await listen(web, ports.http, host);
  track(web);
  const calls = grpcEcho(podName);
  const address = `${host.includes(':') ? `[${host}]` : host}:${ports.grpc}`;
  const grpc = await new Promise<number>((resolve, reject) => {
    calls.bindAsync(address, ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
  parts.defer(() => calls.forceShutdown());
  const all = parts.move();
  return { ports: { tcp, http, grpc }, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

// Echoes for tests of protocols: bytes over TCP, messages over WebSocket (and HTTP), calls over gRPC. Each tells the
// pod that it is, and HTTP and gRPC the version, too.
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
import { EchoMemory } from './echo-memory.ts';
import { httpEcho, type EchoSelf } from './http-echo.ts';

export interface EchoOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly ports: { readonly tcp: number; readonly http: number; readonly grpc: number };
  readonly podName: string;
  /** Told in answers, beside the pod. Default `v1`. */
  readonly version?: string;
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

/** A second service with one method of the same name and one of its own, so that a route can tell them apart. */
export const echoService2 = {
  Say: method('/aura.echo.v2.Echo/Say', false, false),
  Shout: method('/aura.echo.v2.Echo/Shout', false, false),
};

/** Metadata as the call brought it. */
function seen(metadata: Metadata): Record<string, string> {
  return Object.fromEntries(
    Object.keys(metadata.getMap()).map((name) => [name, metadata.get(name).map(String).join(', ')]),
  );
}

function grpcEcho({ podName, version }: EchoSelf, memory: EchoMemory): GrpcServer {
  const server = new GrpcServer();
  const told = (): Metadata => {
    const metadata = new Metadata();
    metadata.set('x-pod', podName);
    metadata.set('x-version', version);
    return metadata;
  };
  /** Metadata `x-status` asks for a status other than OK; what was seen is told as `x-seen`. */
  const say =
    (path: string) =>
    (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void => {
      const [status] = call.metadata.get('x-status');
      const headers = seen(call.metadata);
      memory.remember(headers['x-echo-remember'], { pod: podName, version, protocol: 'grpc', path, headers });
      const metadata = told();
      metadata.set('x-seen', JSON.stringify(headers));
      call.sendMetadata(metadata);
      if (status === undefined) answer(null, call.request);
      else answer({ code: Number(status), details: 'failed on demand' });
    };
  server.addService(echoService2, {
    Say: say(echoService2.Say.path),
    Shout: say(echoService2.Shout.path),
  });
  server.addService(echoService, {
    Say: say(echoService.Say.path),
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
export async function startEcho({ host, ports, podName, version = 'v1' }: EchoOptions): Promise<EchoApp> {
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
  const memory = new EchoMemory();
  const self = { podName, version };
  const [plain, web] = [tcpEcho(podName), httpEcho(self, memory)];
  const tcp = await listen(plain, ports.tcp, host);
  track(plain);
  const http = await listen(web, ports.http, host);
  track(web);
  const calls = grpcEcho(self, memory);
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

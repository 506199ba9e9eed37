// For the tests of this folder: real servers on loopback that answer by script.
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials, type ServerDuplexStream, type ServiceError } from '@grpc/grpc-js';
import { HeaderMap } from '#/http/index.ts';
import type { Ip } from '#/kit/index.ts';
import { identityOf, type ConnectionFacts, type ProviderAddress, type RequestFacts } from '#/model/index.ts';
import type { ServiceMethod } from '#/wire/index.ts';
import type { AuthzRequest } from './authz-answer.ts';

export interface Running extends AsyncDisposable {
  readonly address: ProviderAddress;
}

async function bound(server: Server): Promise<Running> {
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bind) =>
      error === null ? resolve(bind) : reject(error),
    ),
  );
  return {
    address: { hostname: '127.0.0.1', port },
    [Symbol.asyncDispose]: () => {
      server.forceShutdown();
      return Promise.resolve();
    },
  };
}

/** Undefined from the script: no answer, ever. An Error with a code: that gRPC status. */
export function unaryServer<RequestInit, Request, ResponseInit, Response>(
  method: ServiceMethod<RequestInit, Request, ResponseInit, Response>,
  script: (request: Request, peer: string) => ResponseInit | Partial<ServiceError> | undefined,
): Promise<Running> {
  const server = new Server();
  server.addService(
    {
      call: {
        path: method.path,
        requestStream: false,
        responseStream: false,
        requestDeserialize: (bytes: Buffer) => method.request.decode(bytes),
        requestSerialize: () => Buffer.alloc(0),
        responseSerialize: (init: ResponseInit) => Buffer.from(method.response.encode(init)),
        responseDeserialize: () => undefined,
      },
    },
    {
      call(
        call: { request: Request; getPeer(): string },
        callback: (error: Partial<ServiceError> | null, answer?: ResponseInit) => void,
      ) {
        const answer = script(call.request, call.getPeer());
        if (answer === undefined) return;
        if (answer instanceof Error) callback(answer);
        else callback(null, answer as ResponseInit);
      },
    },
  );
  return bound(server);
}

export function duplexServer<RequestInit, Request, ResponseInit, Response>(
  method: ServiceMethod<RequestInit, Request, ResponseInit, Response>,
  script: (stream: ServerDuplexStream<Request, ResponseInit>) => void,
): Promise<Running> {
  const server = new Server();
  server.addService(
    {
      call: {
        path: method.path,
        requestStream: true,
        responseStream: true,
        requestDeserialize: (bytes: Buffer) => method.request.decode(bytes),
        requestSerialize: () => Buffer.alloc(0),
        responseSerialize: (init: ResponseInit) => Buffer.from(method.response.encode(init)),
        responseDeserialize: () => undefined,
      },
    },
    { call: script },
  );
  return bound(server);
}

export async function httpServer(script: RequestListener): Promise<Running> {
  const server = createServer(script);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: { hostname: '127.0.0.1', port: (server.address() as AddressInfo).port },
    [Symbol.asyncDispose]: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** A port where nobody listens. */
export async function deadAddress(): Promise<ProviderAddress> {
  await using server = await httpServer(() => {});
  return server.address;
}

export const grpcError = (code: number, message = 'scripted'): Error =>
  Object.assign(new Error(message), { code });

export const connection: ConnectionFacts = {
  identity: identityOf('td', 'front', 'web'),
  source: { ip: '10.1.2.3' as Ip, port: 40000 },
  destination: { ip: '10.9.0.1' as Ip, port: 80 },
  service: undefined,
  workload: undefined,
  sni: 'shop.example',
};

export function authzRequest(
  headers: readonly (readonly [string, string])[] = [],
  facts: Partial<RequestFacts> = {},
): AuthzRequest {
  const map = HeaderMap.of(headers);
  return {
    facts: {
      method: 'GET',
      scheme: 'http',
      authority: 'shop.example',
      path: '/items',
      query: 'a=1',
      headers: map,
      version: '1.1',
      grpc: false,
      ...facts,
    },
    headers: map,
    id: 'request-1',
  };
}

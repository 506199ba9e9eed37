// A gRPC server on one address, and its orderly end.
import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { isV6 } from '#/kit/index.ts';

export interface GrpcEndpoint {
  readonly port: number;
  /** Lets streams end by themselves until the deadline, then cuts them. */
  drain(ms: number): Promise<void>;
}

export function bindGrpc(
  server: Server,
  host: string,
  port: number,
  credentials: ServerCredentials,
): Promise<GrpcEndpoint> {
  const address = `${isV6(host) ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (error !== null) {
        reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
        return;
      }
      resolve({
        port: bound,
        drain: (ms) =>
          new Promise((done) => {
            const timer = setTimeout(() => server.forceShutdown(), ms);
            server.tryShutdown(() => {
              clearTimeout(timer);
              done();
            });
          }),
      });
    });
  });
}

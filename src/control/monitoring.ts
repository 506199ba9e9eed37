// HTTP for people and machines that look after us: /metrics, /version, /ready, /debug.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { errorText } from '#/errors/index.ts';
import type { Logger } from '#/kit/index.ts';

export interface Answer {
  readonly status?: number;
  readonly type?: string;
  readonly body: string;
}

/** By path. */
export type Routes = Readonly<Record<string, (request: IncomingMessage) => Answer | Promise<Answer>>>;

export const json = (value: unknown): Answer => ({
  type: 'application/json',
  body: `${JSON.stringify(value, undefined, 2)}\n`,
});

export interface HttpEndpoint extends AsyncDisposable {
  readonly port: number;
}

async function answer(
  routes: Routes,
  request: IncomingMessage,
  response: ServerResponse,
  log: Logger,
): Promise<void> {
  // istioctl asks for `//version`; a Go server knows what is meant, and a URL would take the name for a host.
  const path = (request.url ?? '/').replace(/\?.*/s, '').replace(/\/{2,}/g, '/');
  let result: Answer;
  try {
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    result = route === undefined ? { status: 404, body: `no such page: ${path}\n` } : await route(request);
  } catch (error) {
    log.error(`${path}: ${errorText(error)}`);
    result = { status: 500, body: 'internal error\n' };
  }
  response.writeHead(result.status ?? 200, { 'content-type': result.type ?? 'text/plain; charset=utf-8' });
  response.end(request.method === 'HEAD' ? undefined : result.body);
}

/** Listens at once; port 0 gives any free one. Rejects if the port is taken. */
export async function serveHttp(
  host: string,
  port: number,
  routes: Routes,
  log: Logger,
): Promise<HttpEndpoint> {
  const server: Server = createServer(
    { requestTimeout: 30_000, maxHeaderSize: 32_768 },
    (request, response) => {
      request.resume();
      void answer(routes, request, response, log);
    },
  );
  server.maxConnections = 1000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

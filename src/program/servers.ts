// The proxy's own HTTP: admin on localhost (15000), metrics (15020) and readiness (15021).
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { logLevels, type LogLevel } from '#/kit/index.ts';
import { metricsContentType } from '#/telemetry/index.ts';
import type { Readiness } from './readiness.ts';

export interface AdminActions {
  /** The program's name, for the index page. */
  readonly program: string;
  configDump(): Promise<unknown>;
  /** Undefined level: only tells the present one. `reset`: back to what the program was started with. */
  logLevel(level?: LogLevel | 'reset'): LogLevel;
  quit(): void;
}

export interface Listening extends AsyncDisposable {
  readonly port: number;
}

type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void> | void;

/** Serves on every host given; port 0 takes one port for all. */
async function serve(hosts: readonly string[], port: number, handler: Handler): Promise<Listening> {
  const servers: Server[] = [];
  let chosen = port;
  for (const host of hosts) {
    const server = createServer(
      { requestTimeout: 30_000, headersTimeout: 10_000, maxHeaderSize: 16 * 1024 },
      (request, response) => {
        // A host that cannot be read makes no request of ours invalid: only the path counts.
        const url = URL.parse(request.url ?? '/', 'http://localhost');
        if (url === null) {
          text(response, 400, 'bad request target\n');
          return;
        }
        Promise.resolve(handler(request, response, url)).catch((error: unknown) => {
          if (response.headersSent) response.destroy();
          else text(response, 500, `${String(error)}\n`);
        });
      },
    );
    server.maxConnections = 256;
    const listening = await listen(server, host, chosen);
    if (listening === undefined) continue;
    servers.push(server);
    chosen = listening;
  }
  if (servers.length === 0) throw new Error(`none of ${hosts.join(', ')} has an address to listen on`);
  return {
    port: chosen,
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

/** Undefined where the family is off in this namespace. */
function listen(server: Server, host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT') resolve(undefined);
      else reject(new Error(`cannot listen on ${host} port ${port}`, { cause: error }));
    });
    server.listen({ host, port }, () => resolve((server.address() as AddressInfo).port));
  });
}

function text(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'content-type': type });
  response.end(body);
}

const indexPage = (program: string): string => `<!doctype html>
<html><head><title>Aura ${program}</title></head><body><h1>Aura ${program}</h1><ul>
<li><a href="config_dump">config_dump</a>: the state of this proxy</li>
<li>logging: POST ?level=LEVEL to change the log level, without a query to see it</li>
<li>quitquitquit: POST to shut down gracefully</li>
</ul></body></html>
`;

export function startAdmin(port: number, actions: AdminActions): Promise<Listening> {
  return serve(['127.0.0.1', '::1'], port, async (request, response, url) => {
    const post = request.method === 'POST';
    switch (url.pathname) {
      case '/':
        text(response, 200, indexPage(actions.program), 'text/html; charset=utf-8');
        return;
      case '/config_dump':
        text(
          response,
          200,
          `${JSON.stringify(await actions.configDump(), undefined, 2)}\n`,
          'application/json',
        );
        return;
      case '/logging':
        if (!post) text(response, 405, 'use POST\n');
        else logging(response, url, actions);
        return;
      case '/quitquitquit':
        if (!post) {
          text(response, 405, 'use POST\n');
          return;
        }
        text(response, 200, 'shutdown now\n');
        actions.quit();
        return;
      default:
        text(response, 404, 'not found\n');
    }
  });
}

function logging(response: ServerResponse, url: URL, actions: AdminActions): void {
  // `level=` is how istioctl asks what the level is.
  const asked = url.searchParams.get('level') || null;
  // `target=level` sets one target upstream; here one level holds for all, so the last directive counts.
  const wanted = (asked ?? '').split(',').map((directive) => directive.split('=').at(-1)?.toLowerCase());
  const levels = wanted.map((one) => logLevels.find((known) => known === one));
  if (asked !== null && levels.includes(undefined)) {
    text(response, 400, `"${asked}" is no log level: use one of ${logLevels.join(', ')}\n`);
    return;
  }
  if (url.searchParams.has('reset')) actions.logLevel('reset');
  text(response, 200, `current log level is ${actions.logLevel(levels.at(-1))}\n`);
}

/** `collect` gives the metrics in pieces. */
export function startMetrics(port: number, collect: () => Promise<Iterable<string>>): Promise<Listening> {
  return serve(['::'], port, async (request, response, url) => {
    if (url.pathname !== '/metrics' && url.pathname !== '/stats/prometheus') {
      text(response, 404, 'not found\n');
      return;
    }
    const pieces = await collect();
    response.writeHead(200, { 'content-type': metricsContentType(request.headers.accept) });
    // A reader that hangs up in the middle ends this; there is nobody to tell.
    await pipeline(pieces, response).catch(() => {});
  });
}

export function startReadiness(port: number, readiness: Readiness): Promise<Listening> {
  return serve(['::'], port, (request, response, url) => {
    if (url.pathname !== '/healthz/ready') text(response, 404, 'not found\n');
    else if (request.method !== 'GET') text(response, 405, 'use GET\n');
    else if (readiness.pending.length === 0) text(response, 200, 'ready\n');
    else text(response, 500, `not ready, pending: ${readiness.pending.join(', ')}\n`);
  });
}

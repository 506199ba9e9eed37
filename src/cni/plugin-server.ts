// The agent's unix sockets for the plugin: pluginevent.sock, where it asks for a pod to be set up, and log.sock, where
// it leaves its log lines. Bounded in everything: a caller that sends garbage hurts itself only.
import { chmodSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { errorText } from '#/errors/index.ts';
import { logLevels, type Logger, type LogLevel } from '#/kit/index.ts';
import {
  addEventPath,
  logPath,
  logSocket,
  maxEventBytes,
  parseAddEvent,
  pluginEventSocket,
  type PluginAddEvent,
} from './plugin-event.ts';

export interface PluginServerOptions {
  readonly runDir: string;
  readonly log: Logger;
  /** Sets up the pod; what it rejects with is what the plugin, and so the runtime, shows. */
  readonly add: (event: PluginAddEvent) => Promise<void>;
  readonly onAnswer?: (status: number) => void;
}

const maxConnections = 64;
const maxLogBytes = 1024 * 1024;
const maxLogLines = 1000;
const requestTimeoutMs = 5000;

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export class PluginServer {
  readonly #options: PluginServerOptions;
  readonly #log: Logger;
  readonly #servers: { server: Server; path: string }[] = [];

  constructor(options: PluginServerOptions) {
    this.#options = options;
    this.#log = options.log.scope('cni-agent');
  }

  async listen(): Promise<void> {
    await this.#open(pluginEventSocket, addEventPath, (request, response) => this.#add(request, response));
    await this.#open(logSocket, logPath, (request, response) => this.#logLines(request, response));
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#servers.splice(0).map(async ({ server, path }) => {
        const closed = once(server, 'close');
        server.close();
        server.closeIdleConnections();
        // Requests under way have the plugin's own deadline to end in.
        const force = setTimeout(() => server.closeAllConnections(), requestTimeoutMs);
        await closed;
        clearTimeout(force);
        rmSync(path, { force: true });
      }),
    );
  }

  async #open(name: string, path: string, handler: Handler): Promise<void> {
    const file = `${this.#options.runDir}/${name}`;
    // Left by an agent that was killed. Two agents of one node would fight in any case; ZDS refuses the second.
    rmSync(file, { force: true });
    const server = createServer((request, response) => {
      if (request.url !== path || request.method !== 'POST') {
        this.#answer(response, 404, `${request.method} ${request.url}: only POST ${path} is known here`);
        request.resume();
        return;
      }
      handler(request, response).catch((error) => this.#answer(response, 500, errorText(error)));
    });
    server.maxConnections = maxConnections;
    server.headersTimeout = requestTimeoutMs;
    server.requestTimeout = requestTimeoutMs;
    server.on('clientError', (error: Error & { code?: string }, socket) => {
      this.#log.warn('not HTTP on a socket for the plugin', { socket: file, error: error.message });
      refuse(socket as Socket, error);
    });
    server.listen(file);
    await once(server, 'listening');
    // Upstream's is open to all users. The runtime is root, and who may call this decides whose traffic is captured.
    chmodSync(file, 0o600);
    this.#servers.push({ server, path: file });
  }

  async #add(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let event: PluginAddEvent;
    try {
      event = parseAddEvent(await readBody(request, maxEventBytes));
    } catch (error) {
      const text = `plugin event: ${errorText(error)}`;
      this.#log.warn('refused a plugin event', { error: text });
      this.#answer(response, error instanceof BodyTooLarge ? 413 : 400, text);
      return;
    }
    const pod = `${event.PodNamespace}/${event.PodName}`;
    this.#log.debug('plugin event', { pod, netns: event.Netns });
    try {
      await this.#options.add(event);
    } catch (error) {
      this.#log.error('pod not set up for the plugin', { pod, error: errorText(error) });
      this.#answer(response, 500, errorText(error));
      return;
    }
    this.#answer(response, 200, '');
  }

  async #logLines(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let lines: unknown;
    try {
      lines = JSON.parse(await readBody(request, maxLogBytes));
    } catch (error) {
      this.#answer(response, error instanceof BodyTooLarge ? 413 : 400, `log lines: ${errorText(error)}`);
      return;
    }
    if (!Array.isArray(lines) || lines.some((line) => typeof line !== 'string'))
      return this.#answer(response, 400, 'log lines: not a list of strings');
    for (const line of lines.slice(0, maxLogLines) as string[]) this.#logLine(line);
    this.#answer(response, 200, '');
  }

  /** A line as our plugin writes it, or upstream's; anything else is shown as it is. */
  #logLine(line: string): void {
    const log = this.#log.scope('cni-plugin');
    let record: Record<string, unknown>;
    try {
      record = JSON.parse(line) as Record<string, unknown>;
    } catch {
      return log.info(line);
    }
    if (typeof record !== 'object' || record === null) return log.info(line);
    const { level, time: _time, scope: _scope, msg, ...fields } = record;
    const known = logLevels.includes(level as LogLevel) ? (level as LogLevel) : 'info';
    log.log(
      known,
      typeof msg === 'string' ? msg : line,
      Object.fromEntries(
        Object.entries(fields).map(([key, value]) => [
          key,
          typeof value === 'object' ? JSON.stringify(value) : String(value),
        ]),
      ),
    );
  }

  #answer(response: ServerResponse, status: number, text: string): void {
    this.#options.onAnswer?.(status);
    if (response.headersSent) return void response.destroy();
    response.writeHead(status, {
      'content-type': 'text/plain',
      ...(status === 200 ? {} : { connection: 'close' }),
    });
    response.end(text === '' ? '' : `${text}\n`);
  }
}

class BodyTooLarge extends Error {}

/** What is too long is not read to its end: the answer goes out, and closes the connection. */
function readBody(request: IncomingMessage, limit: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else reject(new BodyTooLarge(`the body is larger than ${limit} bytes`));
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString()));
    request.on('error', reject);
  });
}

function refuse(socket: Socket, error: Error & { code?: string }): void {
  if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
  else socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
}

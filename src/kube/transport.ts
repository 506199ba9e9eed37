// HTTP/1.1 to the API server: pooled connections for requests, one connection for each watch, limits on all.
import { Agent, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import type { ClusterConfig } from './config.ts';
import { KubeError } from './kube-error.ts';

export interface KubeRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the whole answer must be there. */
  readonly timeoutMs?: number;
}

type IncomingMessage = Parameters<NonNullable<Parameters<typeof httpsRequest>[2]>>[0];

/** The largest answer that is read: a page of 500 objects of 3 MiB would be too much for any of our programs. */
const maxAnswer = 256 * 1024 * 1024;
/** The largest single watch event. etcd's own limit of an object is 1.5 MiB, our server's 3 MiB. */
const maxLine = 16 * 1024 * 1024;

export class Transport {
  readonly config: ClusterConfig;
  readonly #base: URL;
  readonly #agent: Agent;
  readonly #watchAgent: Agent;
  readonly #userAgent: string;

  constructor(config: ClusterConfig, userAgent: string) {
    this.config = config;
    this.#userAgent = userAgent;
    this.#base = new URL(config.server);
    if (this.#base.protocol !== 'https:')
      throw new Error(`the API server's address must begin with https://, not "${config.server}"`);
    const tls = {
      ...(config.ca === undefined ? {} : { ca: config.ca }),
      ...(config.clientCert === undefined ? {} : { cert: config.clientCert }),
      ...(config.clientKey === undefined ? {} : { key: config.clientKey }),
      ...(config.tlsServerName === undefined ? {} : { servername: config.tlsServerName }),
      ...(config.insecureSkipTlsVerify === true ? { rejectUnauthorized: false } : {}),
    };
    this.#agent = new Agent({
      ...tls,
      keepAlive: true,
      keepAliveMsecs: 15_000,
      maxSockets: 32,
      maxFreeSockets: 4,
      scheduling: 'lifo',
      timeout: 60_000,
    });
    this.#watchAgent = new Agent({ ...tls, keepAlive: true, keepAliveMsecs: 15_000, maxFreeSockets: 0 });
  }

  /** The body of a 2xx answer. Throws KubeError for the others, Error if there is no answer. */
  async send(call: KubeRequest): Promise<string> {
    const what = `${call.method} ${call.path.replace(/\?.*/, '')}`;
    for (let attempt = 0; ; attempt++) {
      let response: IncomingMessage;
      try {
        response = await this.#open(call, this.#agent, call.timeoutMs ?? 30_000);
      } catch (error) {
        // A pooled connection that the server closed while the request was on its way: one that may be repeated is.
        if (attempt === 0 && isStale(error) && call.method === 'GET') continue;
        throw describe(error, this.config.server, what);
      }
      const body = await readAll(response, maxAnswer).catch((error: unknown) => {
        throw describe(error, this.config.server, what);
      });
      const code = response.statusCode ?? 0;
      if (code >= 200 && code < 300) return body;
      if (code === 429 && attempt < 5) {
        const seconds = Math.min(10, Math.max(1, Number(response.headers['retry-after'] ?? 1) || 1));
        await pause(seconds * 1000, call.signal);
        continue;
      }
      throw KubeError.fromBody(code, body, what);
    }
  }

  /**
   * The lines of a streamed answer. Ends when the server ends it; throws KubeError for a refusal, Error when the
   * connection breaks or is silent for `idleMs`.
   */
  async *lines(call: KubeRequest, idleMs: number): AsyncGenerator<string> {
    const what = `watch ${call.path.replace(/\?.*/, '')}`;
    let response: IncomingMessage;
    try {
      response = await this.#open(call, this.#watchAgent, idleMs);
    } catch (error) {
      throw describe(error, this.config.server, what);
    }
    try {
      const code = response.statusCode ?? 0;
      if (code < 200 || code >= 300) throw KubeError.fromBody(code, await readAll(response, 1 << 20), what);
      response.setTimeout(idleMs, () => response.destroy(new Error(`nothing was heard for ${idleMs} ms`)));
      response.setEncoding('utf8');
      let rest = '';
      for await (const chunk of response as AsyncIterable<string>) {
        let start = 0;
        for (;;) {
          const end = chunk.indexOf('\n', start);
          if (end < 0) break;
          const line = rest + chunk.slice(start, end);
          rest = '';
          start = end + 1;
          if (line !== '') yield line;
        }
        rest += chunk.slice(start);
        if (rest.length > maxLine) throw new Error(`an event is longer than ${maxLine} bytes`);
      }
    } catch (error) {
      if (call.signal?.aborted === true) return;
      throw error instanceof KubeError ? error : describe(error, this.config.server, what);
    } finally {
      response.destroy();
    }
  }

  /** A connection that speaks WebSocket from here on. Throws KubeError for a refusal, Error if there is no answer. */
  async upgrade(
    path: string,
    protocol: string,
    timeoutMs = 10_000,
  ): Promise<{ socket: Duplex; head: Buffer }> {
    const what = `GET ${path.replace(/\?.*/, '')}`;
    const { promise, resolve, reject } = Promise.withResolvers<{ socket: Duplex; head: Buffer }>();
    const request = httpsRequest({
      ...this.#options({ method: 'GET', path }),
      agent: this.#watchAgent,
      headers: {
        ...this.#headers({ method: 'GET', path }),
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': Buffer.from(`${performance.now()}`.padEnd(16, '0').slice(0, 16)).toString(
          'base64',
        ),
        'sec-websocket-protocol': protocol,
      },
    });
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    request.on('upgrade', (_response, socket, head) => {
      clearTimeout(timer);
      resolve({ socket, head });
    });
    request.on('response', (response) => {
      clearTimeout(timer);
      readAll(response, 1 << 20).then(
        (body) => reject(KubeError.fromBody(response.statusCode ?? 0, body, what)),
        reject,
      );
    });
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(describe(error, this.config.server, what));
    });
    request.end();
    return promise;
  }

  /** Closes idle connections; what is under way is not touched. */
  close(): void {
    this.#agent.destroy();
    this.#watchAgent.destroy();
  }

  #open(call: KubeRequest, agent: Agent, timeoutMs: number): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = httpsRequest({ ...this.#options(call), agent, headers: this.#headers(call) });
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    request.on('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    request.on('error', (error) => {
      clearTimeout(timer);
      if (request.reusedSocket) staleErrors.add(error);
      reject(error);
    });
    request.end(call.body);
    return promise;
  }

  #headers(call: KubeRequest): Record<string, string | number> {
    const headers: Record<string, string | number> = {
      accept: call.accept ?? 'application/json',
      'user-agent': this.#userAgent,
    };
    const token = this.config.token?.();
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    else if (this.config.basic !== undefined)
      headers['authorization'] =
        `Basic ${Buffer.from(`${this.config.basic.username}:${this.config.basic.password}`).toString('base64')}`;
    if (call.body !== undefined) {
      headers['content-type'] = call.contentType ?? 'application/json';
      headers['content-length'] = Buffer.byteLength(call.body);
    }
    return headers;
  }

  #options(call: KubeRequest): {
    method: string;
    host: string;
    port: number;
    path: string;
    signal?: AbortSignal;
  } {
    const prefix = this.#base.pathname === '/' ? '' : this.#base.pathname;
    return {
      method: call.method,
      // An IPv6 literal stands in brackets in a URL, not in a host argument.
      host: this.#base.hostname.replace(/^\[|\]$/g, ''),
      port: this.#base.port === '' ? 443 : Number(this.#base.port),
      path: prefix + call.path,
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    };
  }
}

const staleErrors = new WeakSet<Error>();
const isStale = (error: unknown): boolean => error instanceof Error && staleErrors.has(error);

function describe(error: unknown, server: string, what: string): Error {
  if (error instanceof Error && error.name === 'AbortError') return error;
  return new Error(`${what} at ${server}: ${error instanceof Error ? error.message : String(error)}`, {
    cause: error,
  });
}

async function readAll(response: IncomingMessage, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) {
      response.destroy();
      throw new Error(`the answer is longer than ${limit} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      },
      { once: true },
    );
  });
}

// Requests to external services that speak plain HTTP: kept connections, limits of time, size and number.
import { Agent, request as httpRequest } from 'node:http';
import type { ProviderAddress } from '#/model/index.ts';
import { CallFailure } from './call-failure.ts';
import { addressText } from './header-edits.ts';

export interface HttpClientOptions {
  /** Host and port to connect to. Default: the provider's, by DNS. */
  readonly connectTo?: (address: ProviderAddress) => { readonly host: string; readonly port: number };
  /** Under way at one address. Default 1024. */
  readonly maxInFlight?: number;
  /** Of an answer's body. Default 1 MiB. */
  readonly maxBytes?: number;
}

export interface HttpCall {
  readonly method: string;
  readonly path: string;
  /** Flat: name, value, … with Host. Without framing. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case, values as latin1. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
}

export class HttpClients implements Disposable {
  readonly #options: HttpClientOptions;
  readonly #agent: Agent;
  readonly #inFlight = new Map<string, number>();

  constructor(options: HttpClientOptions = {}) {
    this.#options = options;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: options.maxInFlight ?? 1024,
      maxFreeSockets: 32,
      timeout: 60_000,
    });
  }

  /** Rejects with CallFailure. */
  async call(
    address: ProviderAddress,
    call: HttpCall,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<HttpAnswer> {
    const key = addressText(address);
    const limit = this.#options.maxInFlight ?? 1024;
    const underWay = this.#inFlight.get(key) ?? 0;
    if (underWay >= limit)
      throw new CallFailure('overloaded', `${key}: ${limit} calls are under way already`);
    this.#inFlight.set(key, underWay + 1);
    try {
      return await this.#send(address, call, timeoutMs, signal);
    } catch (error) {
      if (error instanceof CallFailure) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new CallFailure('unreachable', `${key}: ${message}`, { cause: error });
    } finally {
      const left = (this.#inFlight.get(key) ?? 1) - 1;
      if (left === 0) this.#inFlight.delete(key);
      else this.#inFlight.set(key, left);
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  #send(
    address: ProviderAddress,
    { method, path, headers, body }: HttpCall,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<HttpAnswer> {
    const where = addressText(address);
    const { host, port } = this.#options.connectTo?.(address) ?? {
      host: address.hostname,
      port: address.port,
    };
    const maxBytes = this.#options.maxBytes ?? 1024 * 1024;
    return new Promise((resolve, reject) => {
      // Throws on a path or header that cannot be written.
      const sent = httpRequest({
        agent: this.#agent,
        host,
        port,
        method,
        path,
        headers: [...headers, 'content-length', String(body.length)],
        setHost: false,
        ...(signal !== undefined && { signal }),
      });
      // Once the answer is whole, the connection belongs to the agent again.
      let whole = false;
      const fail = (failure: Error): void => {
        if (whole) return;
        reject(failure);
        sent.destroy();
      };
      const timer = setTimeout(
        () => fail(new CallFailure('timeout', `${where}: no answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      sent.on('error', (error) =>
        fail(signal?.aborted === true ? new CallFailure('cancelled', `${where}: no longer needed`) : error),
      );
      sent.on('close', () => {
        clearTimeout(timer);
        fail(new CallFailure('unreachable', `${where}: the connection was closed before the answer's end`));
      });
      sent.on('response', (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxBytes)
            fail(new CallFailure('protocol', `${where}: an answer of more than ${maxBytes} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', fail);
        response.on('end', () => {
          whole = response.complete;
          if (!whole) return;
          resolve({
            status: response.statusCode ?? 0,
            headers: pairs(response.rawHeaders),
            body: Buffer.concat(chunks),
          });
        });
      });
      sent.end(body);
    });
  }
}

function pairs(flat: readonly string[]): readonly (readonly [string, string])[] {
  const list: (readonly [string, string])[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2)
    list.push([(flat[i] as string).toLowerCase(), flat[i + 1] as string]);
  return list;
}

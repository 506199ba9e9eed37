// Ids of requests, traces and spans: random, from a pool of bytes that is filled now and then.
import type { TraceIdSource } from './trace-context.ts';

export interface IdSource extends TraceIdSource {
  /** UUID version 4. */
  requestId(): string;
}

type Fill = (bytes: Uint8Array) => void;

const poolSize = 4096;

/** `fill`: gives random bytes. */
export function idSource(
  fill: Fill = (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
): IdSource {
  const pool = Buffer.alloc(poolSize);
  let used = poolSize;
  const take = (count: number): number => {
    if (used + count > poolSize) {
      fill(pool);
      used = 0;
    }
    used += count;
    return used - count;
  };
  const hex = (count: number): string => {
    // An id of zeros is none.
    for (let tries = 0; tries < 4; tries++) {
      const at = take(count);
      const text = pool.toString('hex', at, at + count);
      if (!/^0+$/.test(text)) return text;
    }
    return '1'.padStart(count * 2, '0');
  };
  return {
    traceId: () => hex(16),
    spanId: () => hex(8),
    requestId: () => {
      const at = take(16);
      // RFC 9562, 5.4: version and variant.
      pool[at + 6] = ((pool[at + 6] as number) & 0x0f) | 0x40;
      pool[at + 8] = ((pool[at + 8] as number) & 0x3f) | 0x80;
      const text = pool.toString('hex', at, at + 16);
      return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`;
    },
  };
}

const requestIdShape = /^[A-Za-z0-9._:+/=@-]{1,128}$/;

/** The client's id if it is one that can be logged and handed on; a mesh keeps it, so that hops can be joined. */
export const keepRequestId = (value: string | undefined): string | undefined =>
  value !== undefined && requestIdShape.test(value) ? value : undefined;

/** What the id of a request says in [0, 10000), the same at every hop. Undefined if it does not begin as a UUID does. */
export function requestIdShare(requestId: string): number | undefined {
  const match = /^[0-9a-f]{8}(?=-)/i.exec(requestId);
  return match === null ? undefined : Number.parseInt(match[0], 16) % 10_000;
}

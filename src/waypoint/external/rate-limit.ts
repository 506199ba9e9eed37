// Limits of rate that a service counts for many proxies.
import type { GlobalRateLimit, HeaderValue } from '#/model/index.ts';
import { rateLimitMethod } from '#/wire/index.ts';
import type { Descriptor } from '../limits/index.ts';
import {
  CallFailure,
  callFailure,
  countFailure,
  emptyCallCounters,
  type CallCounters,
} from './call-failure.ts';
import type { ExternalChannels } from './channels.ts';
import { checkedEdits, type HeaderEdit } from './header-edits.ts';

export type LimitAnswer =
  | {
      readonly limited: false;
      /** The service gave no answer, and the configuration lets requests pass then. */
      readonly failedOpen: boolean;
      readonly requestHeaders: readonly HeaderEdit[];
      readonly responseHeaders: readonly HeaderEdit[];
      readonly error?: string;
    }
  | {
      readonly limited: true;
      /** 429, or 500 if the service gave no answer. */
      readonly status: number;
      readonly headers: readonly HeaderValue[];
      readonly body: Buffer;
      /** Response code details; the response flag is RL, or RLSE without an answer. */
      readonly details: 'request_rate_limited' | 'rate_limiter_error';
      readonly error?: string;
    };

type Code = ReturnType<typeof rateLimitMethod.response.decode>['overallCode'];
const ok: Code = 1;
const overLimit: Code = 2;

const passes: Extract<LimitAnswer, { readonly limited: false }> = {
  limited: false,
  failedOpen: false,
  requestHeaders: [],
  responseHeaders: [],
};

export class RateLimitClient {
  readonly counters: CallCounters = emptyCallCounters();
  readonly #channels: ExternalChannels;

  constructor(channels: ExternalChannels) {
    this.#channels = channels;
  }

  /** Never rejects. Without descriptors nobody is asked. */
  async limit(
    config: GlobalRateLimit,
    descriptors: readonly Descriptor[],
    signal?: AbortSignal,
  ): Promise<LimitAnswer> {
    if (descriptors.length === 0) return passes;
    try {
      const response = await this.#channels.unary(
        config.server,
        rateLimitMethod,
        {
          domain: config.domain,
          descriptors: descriptors.map((entries) => ({ entries: entries.map((entry) => ({ ...entry })) })),
        },
        config.timeoutMs,
        signal,
      );
      const responseHeaders = edits(response.responseHeadersToAdd);
      switch (response.overallCode) {
        case overLimit:
          this.counters.denied++;
          return {
            limited: true,
            status: 429,
            headers: [
              { name: 'x-envoy-ratelimited', value: 'true' },
              ...responseHeaders.map(({ name, value }) => ({ name, value })),
            ],
            body: Buffer.from(response.rawBody),
            details: 'request_rate_limited',
          };
        case ok: {
          const requestHeaders = edits(response.requestHeadersToAdd);
          this.counters.ok++;
          return { limited: false, failedOpen: false, requestHeaders, responseHeaders };
        }
        default:
          throw new CallFailure('protocol', `an answer with code ${response.overallCode}`);
      }
    } catch (error) {
      const failure = callFailure(error);
      countFailure(this.counters, failure, config.failOpen);
      const text = `rate limit of domain ${config.domain}: ${failure.message}`;
      return config.failOpen
        ? { ...passes, failedOpen: true, error: text }
        : {
            limited: true,
            status: 500,
            headers: [],
            body: Buffer.alloc(0),
            details: 'rate_limiter_error',
            error: text,
          };
    }
  }
}

interface WireHeader {
  readonly key: string;
  readonly value: string;
  readonly rawValue: Uint8Array;
}

function edits(headers: readonly WireHeader[]): readonly HeaderEdit[] {
  return checkedEdits(
    headers.map(({ key, value, rawValue }) => ({
      name: key.toLowerCase(),
      value: (rawValue.length > 0 ? Buffer.from(rawValue) : Buffer.from(value, 'utf8')).toString('latin1'),
      action: 'append',
    })),
  );
}

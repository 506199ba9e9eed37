// Failures on demand, so that retries, timeouts and ejection can be seen: by the header `x-fault` of a request, or by
// the environment for all of them. What is decided is told in words; the server acts.
import { Lru } from '#/kit/index.ts';

export interface Fault {
  /** 0: none. */
  readonly delayMs: number;
  /** A status to answer with; `reset` cuts the connection. Absent: the answer is the usual one. */
  readonly fail?: number | 'reset';
}

interface Rule {
  /** Services that it is for; none: all. */
  readonly services: readonly string[];
  readonly fail: number | 'reset' | undefined;
  readonly delayMs: number;
  /** Every n-th request. */
  readonly every: number;
  /** Only the first n; 0: all. */
  readonly first: number;
}

const maxDelayMs = 60_000;

/**
 * `fail=503; every=2`, `delay=1500`, `fail=reset; first=2; key=a; service=ratings`. The key only tells apart what is
 * counted. Throws TypeError that names the part that is wrong.
 */
export function parseFault(text: string): Rule {
  const fields = new Map<string, string>();
  for (const part of text.split(';')) {
    if (part.trim() === '') continue;
    const [name = '', value = '', more] = part.split('=').map((word) => word.trim());
    if (more !== undefined || !['fail', 'delay', 'every', 'first', 'key', 'service'].includes(name))
      throw new TypeError(`"${part.trim()}" is none of fail=, delay=, every=, first=, key= and service=`);
    fields.set(name, value);
  }
  const number = (name: string, otherwise: number, least: number, most: number): number => {
    const value = fields.get(name);
    if (value === undefined) return otherwise;
    const parsed = Number(value);
    if (!Number.isInteger(parsed) || parsed < least || parsed > most)
      throw new TypeError(`${name}=${value} is not a number from ${least} to ${most}`);
    return parsed;
  };
  return {
    services: (fields.get('service') ?? '').split(',').filter((name) => name !== ''),
    fail:
      fields.get('fail') === 'reset'
        ? 'reset'
        : fields.has('fail')
          ? number('fail', 503, 200, 599)
          : undefined,
    delayMs: number('delay', 0, 0, maxDelayMs),
    every: number('every', 1, 1, 1_000_000),
    first: number('first', 0, 0, 1_000_000),
  };
}

const none: Fault = { delayMs: 0 };

export class FaultKnob {
  readonly #service: string;
  readonly #always: string;
  /** Requests so far, by rule. */
  readonly #counts = new Lru<string, number>(1000);

  /** `always` is for requests without the header. Throws TypeError if it is wrong. */
  constructor(service: string, always = '') {
    parseFault(always);
    this.#service = service;
    this.#always = always;
  }

  /** What happens to the next request. Throws TypeError for a header that is wrong. */
  decide(header: string | undefined): Fault {
    const text = header ?? this.#always;
    if (text === '') return none;
    const { services, fail, delayMs, every, first } = parseFault(text);
    if (services.length > 0 && !services.includes(this.#service)) return none;
    const count = (this.#counts.get(text) ?? 0) + 1;
    this.#counts.set(text, count);
    if (count % every !== 0 || (first > 0 && count > first)) return none;
    return { delayMs, ...(fail === undefined ? {} : { fail }) };
  }
}

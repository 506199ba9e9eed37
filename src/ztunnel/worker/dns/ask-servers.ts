// One question to several name servers: the first in the list, and the next when one is silent, fails or refuses.
import { errorText } from '#/errors/index.ts';
import type { Clock, Ip } from '#/kit/index.ts';
import { dnsCode, type DnsAnswer } from '#/wire/index.ts';
import type { Exchange } from './exchange.ts';

export interface AskServersOptions {
  readonly servers: readonly Ip[];
  readonly ask: (server: Ip) => Exchange;
  readonly clock: Clock;
  /** Raised when nobody waits any more. */
  readonly gone: AbortSignal;
}

/** What is left of the five seconds that resolvers wait goes to the way back. */
const patienceMs = 4500;
/** A server that is silent for so long is not waited for alone. */
const nextServerMs = 1200;
const attemptLimit = 4;

/** Every server twice, but for a limit. If all refuse, the last refusal is the answer; rejects if none answers. */
export function askServers({ servers, ask, clock, gone }: AskServersOptions): Promise<DnsAnswer> {
  if (servers.length === 0) return Promise.reject(new Error('there is no name server to ask'));
  if (gone.aborted) return Promise.reject(new Error('the pod is gone'));
  const order = [...servers, ...servers].slice(0, attemptLimit);
  return new Promise((resolve, reject) => {
    const open = new Set<Exchange>();
    let failure = `no answer within ${patienceMs / 1000} s`;
    let refusal: DnsAnswer | undefined;
    let pause: Disposable | undefined;
    const finish = (end: () => void): void => {
      pause?.[Symbol.dispose]();
      late[Symbol.dispose]();
      gone.removeEventListener('abort', onGone);
      for (const exchange of open) exchange[Symbol.dispose]();
      open.clear();
      order.length = 0;
      end();
    };
    // A refusal is better than nothing: the client is told what the server said.
    const giveUp = (): void =>
      finish(() => (refusal === undefined ? reject(new Error(failure)) : resolve(refusal)));
    const onGone = (): void => finish(() => reject(new Error('the pod is gone')));
    const late = clock.after(patienceMs, giveUp);
    gone.addEventListener('abort', onGone, { once: true });

    const askOne = (): void => {
      pause?.[Symbol.dispose]();
      const server = order.shift();
      if (server === undefined) {
        if (open.size === 0) giveUp();
        return;
      }
      const exchange = ask(server);
      open.add(exchange);
      // False for one that was given up before: it does not count any more.
      const ended = (): boolean => {
        exchange[Symbol.dispose]();
        return open.delete(exchange);
      };
      exchange.answer.then(
        (answer) => {
          if (!ended()) return;
          if (isFinal(answer)) {
            finish(() => resolve(answer));
            return;
          }
          refusal = answer;
          askOne();
        },
        (error: unknown) => {
          if (!ended()) return;
          failure = `${server}: ${errorText(error)}`;
          askOne();
        },
      );
      pause = clock.after(nextServerMs, askOne);
    };
    askOne();
  });
}

/** Another server may do better than one that fails or refuses. */
const isFinal = ({ code }: DnsAnswer): boolean => code === dnsCode.NOERROR || code === dnsCode.NXDOMAIN;

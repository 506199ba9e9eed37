// A copy of a request to another destination. Its answer is thrown away, and its failure is nobody's.
import { type ClientExchange, type RequestHead, type ResponseReceiver } from '#/http/index.ts';
import type { Destination } from '#/model/index.ts';
import { mirrorAuthority } from '#/route/index.ts';
import type { ClientConnectionContext, HttpEngine } from './client-connection.ts';
import type { RequestRun } from './request-run.ts';

/** Copies that one worker may have under way: they must not slow the original. */
const maxMirrors = 1024;
const connectTimeoutMs = 5000;
/** A copy that is not answered by then is given up. */
const longestMs = 300_000;
let open = 0;
/** Copies that were not sent because of the limit. */
export const mirrorStats = { dropped: 0 };

export function sendMirror(
  { clusters }: HttpEngine,
  client: ClientConnectionContext,
  run: RequestRun,
  destination: Destination,
): void {
  if (open >= maxMirrors || run.head.upgrade !== undefined) {
    mirrorStats.dropped++;
    return;
  }
  const settings = client.config.routing.settings.resolve(destination);
  if (settings === undefined) return;
  const head: RequestHead = {
    ...run.head,
    headers: run.head.headers.clone(),
    authority: mirrorAuthority(run.head.authority),
    expectsContinue: false,
  };
  open++;
  let exchange: ClientExchange | undefined;
  let over = false;
  const finish = (status: number | undefined): void => {
    if (over) return;
    over = true;
    open--;
    clearTimeout(timer);
    endpointDone?.(status);
  };
  /** It does not get the whole body, or takes too long. */
  const giveUp = (): void => {
    exchange?.reset();
    if (!over) mirrorStats.dropped++;
    finish(undefined);
  };
  const timer = setTimeout(giveUp, longestMs);
  timer.unref();
  let answered = 0;
  let endpointDone: ((status: number | undefined) => void) | undefined;
  const receiver: ResponseReceiver = {
    inform: () => {},
    head: (response, ended) => {
      answered = response.status;
      if (ended) finish(response.status);
    },
    data: (chunk) => exchange?.consumed(chunk.length),
    end: () => finish(answered),
    failed: () => finish(0),
    writable: () => {},
  };
  clusters.pick(
    { destination, settings, target: client.target, head, facts: client.facts, tried: [] },
    (picked) => {
      if ('failure' in picked) {
        finish(0);
        return;
      }
      picked.begin();
      if (over) {
        picked.finish({ kind: 'abandoned' });
        return;
      }
      endpointDone = (status) =>
        picked.finish(
          status === undefined
            ? { kind: 'abandoned' }
            : status === 0
              ? { kind: 'local-failure' }
              : { kind: 'response', status },
        );
      picked.connection(head, connectTimeoutMs, (connection) => {
        if (over) return;
        if (connection === undefined) {
          finish(0);
          return;
        }
        const whole = run.requestBody.ended && run.requestBody.bytes === 0;
        const sent = connection.request(head, whole, receiver);
        exchange = sent;
        if (!whole)
          run.requestBody.copyTo({
            write: (chunk) => sent.write(chunk),
            end: (trailers) => sent.end(trailers),
            reset: giveUp,
          });
      });
    },
  );
}

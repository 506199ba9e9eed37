// Carries out a plan that says "hbone": finds or opens a session to the next hop and asks it for a tunnel.
import type { Socket } from 'node:net';
import { MeshError } from '#/errors/index.ts';
import { formatSocketAddress } from '#/kit/index.ts';
import { workloadIdentity, type HboneHop, type OutboundFacts } from '#/model/index.ts';
import { connectTls } from '#/identity/index.ts';
import {
  connect,
  h2Error,
  hboneClient,
  type H2Connection,
  type H2Stream,
  type HeaderList,
  type StreamSink,
} from '#/tunnel/index.ts';
import { encodeBaggage, encodeForwarded, encodeTraceParent, newTraceParent } from '#/wire/index.ts';
import { dial } from './dial.ts';
import type { PodContext } from './pod-context.ts';

/** Attempts after a peer has said that it did not look at the request. */
const attempts = 3;

const statusTexts: Readonly<Record<string, string>> = {
  '400': 'Bad Request',
  '401': 'Unauthorized',
  '403': 'Forbidden',
  '404': 'Not Found',
  '500': 'Internal Server Error',
  '502': 'Bad Gateway',
  '503': 'Service Unavailable',
  '504': 'Gateway Timeout',
};

/**
 * Resolves when the peer has answered 200 and `attach` has given the stream its sink; rejects with MeshError.
 * `attach` may return undefined: nobody is interested any more, and the stream is reset.
 */
export async function openTunnel(
  context: PodContext,
  facts: OutboundFacts,
  plan: HboneHop,
  attach: (stream: H2Stream) => StreamSink | undefined,
): Promise<void> {
  const headers = requestHeaders(facts, plan);
  const key = sessionKey(facts, plan);
  for (let attempt = 1; ; attempt++) {
    const outcome = await ask(context, facts, plan, key, headers, attach);
    if (outcome === 'opened') return;
    if (attempt === attempts)
      throw new MeshError('H2_FAILED', `the peer at ${address(plan)} refuses new streams`);
  }
}

function ask(
  context: PodContext,
  facts: OutboundFacts,
  plan: HboneHop,
  key: string,
  headers: HeaderList,
  attach: (stream: H2Stream) => StreamSink | undefined,
): Promise<'opened' | 'refused'> {
  return new Promise((resolve, reject) => {
    const use = (connection: H2Connection): void => {
      connect(connection, plan.authority, headers, {
        opened(stream) {
          if (attach(stream) === undefined) stream.reset(h2Error.cancel);
          resolve('opened');
        },
        refused(status) {
          reject(
            new MeshError('HTTP_STATUS', `http status: ${`${status} ${statusTexts[status] ?? ''}`.trim()}`),
          );
        },
        failed(failure) {
          if (failure.kind === 'refused') resolve('refused');
          else reject(new MeshError('H2_FAILED', `http2: ${failure.message}`));
        },
      });
    };
    const free = context.pool.take(key);
    if (free !== undefined) use(free);
    else context.pool.checkout(key, () => openSession(context, facts, plan), use).catch(reject);
  });
}

/** Connections share a session only if they agree in who asks, who may answer, and both addresses. */
function sessionKey(facts: OutboundFacts, plan: HboneHop): string {
  return `${workloadIdentity(facts.source)}|${plan.expectedIdentities.join(',')}|${address(plan)}|${facts.sourceAddress.ip}`;
}

const address = (plan: HboneHop): string => formatSocketAddress(plan.nextHop.ip, plan.nextHop.port);

function requestHeaders(facts: OutboundFacts, plan: HboneHop): HeaderList {
  return [
    ['baggage', encodeBaggage(facts.source)],
    ['forwarded', encodeForwarded(facts.sourceAddress, plan.service?.hostname)],
    ['traceparent', encodeTraceParent(newTraceParent())],
  ];
}

async function openSession(context: PodContext, facts: OutboundFacts, plan: HboneHop): Promise<H2Connection> {
  const identity = workloadIdentity(facts.source);
  const { certificate } = context.certificates.peek(identity) ?? (await context.certificates.get(identity));
  const raw = await dialed(context, plan);
  const { socket } = await connectTls(raw, certificate, plan.expectedIdentities);
  const connection: H2Connection = hboneClient(socket, context.config.windows, {
    closed: () => context.pool.remove(connection),
  });
  return connection;
}

function dialed(context: PodContext, plan: HboneHop): Promise<Socket> {
  return new Promise((resolve, reject) => {
    dial(context.dialer, { netns: context.netns, to: plan.nextHop, kind: 'hbone' }, resolve, reject);
  });
}

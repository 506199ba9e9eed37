// Port 15008: HBONE from peers. Proves the peer, takes each CONNECT, asks `route` where it may go and `policy`
// whether, dials the application from the client's address, and only then says 200.
import type { Socket } from 'node:net';
import { errorRegistry, errorText, MeshError } from '#/errors/index.ts';
import { acceptTls } from '#/identity/index.ts';
import type { SocketAddress } from '#/kit/index.ts';
import {
  workloadIdentity,
  type Baggage,
  type Delivery,
  type Identity,
  type InboundFacts,
  type InboundPlan,
  type Workload,
} from '#/model/index.ts';
import { decide } from '#/policy/index.ts';
import { planInbound } from '#/route/index.ts';
import {
  HeldRequest,
  hboneServer,
  Splice,
  type H2Connection,
  type H2Stream,
  type HeaderList,
} from '#/tunnel/index.ts';
import {
  encodeBaggage,
  encodeProxyHeader,
  parseBaggage,
  parseForwardedHost,
  parseForwardedNetwork,
} from '#/wire/index.ts';
import { dial } from './dial.ts';
import {
  abandoned,
  awaitLocalWorkload,
  endsOf,
  guard,
  localWorkload,
  lookUp,
  stillAllowed,
  type PodContext,
} from './pod-context.ts';
import { Relay } from './relay.ts';

const planRounds = 4;

/** A proven peer. */
interface Peer {
  readonly identity: Identity;
  readonly address: SocketAddress;
  /** The connection's own destination. */
  readonly connection: SocketAddress;
}

interface Request {
  readonly method: string;
  readonly authority: string;
  readonly baggage: Baggage;
  readonly forwardedHost: string | undefined;
  readonly forwardedNetwork: string | undefined;
}

/** Takes a connection that was accepted, paused. `onSession` is told of the session while it lives. Never throws. */
export function acceptInbound(context: PodContext, raw: Socket, sessions: Set<H2Connection>): void {
  guard(raw);
  const ends = endsOf(context, raw, false);
  if (ends === undefined) return;
  const { peer: address, destination: connection } = ends;
  void handshake(context, raw, address, connection, sessions).catch((error: unknown) => {
    context.ledger.refuse({
      reporter: 'destination',
      sourceAddress: address,
      destinationAddress: connection,
      reason: context.gone.aborted ? errorRegistry.DRAINED.text : errorText(error),
    });
    raw.destroy();
  });
}

async function handshake(
  context: PodContext,
  raw: Socket,
  address: SocketAddress,
  connection: SocketAddress,
  sessions: Set<H2Connection>,
): Promise<void> {
  const local = localWorkload(context) ?? (await awaitLocalWorkload(context));
  const own = workloadIdentity(local);
  const { certificate } = context.certificates.peek(own) ?? (await context.certificates.get(own));
  // A hand-shake on a socket that was closed meanwhile would neither succeed nor fail.
  if (raw.destroyed) throw abandoned(context);
  const { socket, peer: identity } = await acceptTls(raw, certificate);
  const peer: Peer = { identity, address, connection };
  const session: H2Connection = hboneServer(socket, context.config.windows, {
    request: (stream, headers) => acceptRequest(context, peer, stream, headers),
    closed: () => sessions.delete(session),
  });
  sessions.add(session);
  if (context.closing.aborted) session.session.drain();
}

function acceptRequest(context: PodContext, peer: Peer, stream: H2Stream, headers: HeaderList): void {
  const startedAt = context.clock.now();
  let gone: (() => void) | undefined;
  const held = new HeldRequest(stream, () => gone?.());
  const request = readRequest(headers);
  void judge(context, peer, request, held, startedAt, (undo) => {
    gone = undo;
  }).catch((error: unknown) => {
    // Only what comes before the account is opened ends here.
    const code = error instanceof MeshError ? error.code : undefined;
    context.ledger.refuse({
      reporter: 'destination',
      sourceAddress: peer.address,
      destinationAddress: peer.connection,
      reason: errorText(error),
    });
    held.refuse(code === 'BAD_CONNECT' || code === 'IP_MISMATCH' ? 400 : 503);
  });
}

/** No host and port are longer; what is, is cut before it can fill the log, and refused for what is left. */
const maxAuthority = 300;
const maxMethod = 20;

function readRequest(headers: HeaderList): Request {
  const value = (name: string): string | undefined => headers.find((field) => field[0] === name)?.[1];
  return {
    method: (value(':method') ?? '').slice(0, maxMethod),
    authority: (value(':authority') ?? '').slice(0, maxAuthority),
    baggage: parseBaggage(value('baggage')),
    forwardedHost: parseForwardedHost(value('forwarded')),
    forwardedNetwork: parseForwardedNetwork(value('x-forwarded-network')),
  };
}

async function judge(
  context: PodContext,
  peer: Peer,
  request: Request,
  held: HeldRequest,
  startedAt: number,
  onGone: (undo: () => void) => void,
): Promise<void> {
  const local = localWorkload(context);
  if (local === undefined)
    throw new MeshError('UNKNOWN_SOURCE', 'unknown destination: the pod is not known any more');
  const facts: InboundFacts = {
    local,
    connection: peer.connection,
    peer: peer.address,
    peerIdentity: peer.identity,
    method: request.method,
    authority: request.authority,
    ...(request.forwardedHost === undefined ? {} : { forwardedHost: request.forwardedHost }),
    ...(request.forwardedNetwork === undefined ? {} : { forwardedNetwork: request.forwardedNetwork }),
    network: context.config.network,
  };
  const plan = await planned(context, facts);
  if (plan.kind === 'needs') throw new MeshError('NO_ROUTE', 'the control plane does not answer');
  if (plan.kind === 'reject') {
    context.ledger.refuse({
      reporter: 'destination',
      sourceAddress: peer.address,
      destinationAddress: peer.connection,
      reason: plan.reason,
    });
    held.refuse(plan.status);
    return;
  }
  if (context.live.countOf(context.pod.uid) >= context.config.maxConnectionsPerPod)
    throw new MeshError('OVER_LIMIT');
  // Nobody is told of the end of a stream that ended before this, so nothing may begin for it.
  if (held.stream.gone) throw abandoned(context);
  deliver(context, peer, request, local, plan, held, startedAt, onGone);
}

async function planned(context: PodContext, facts: InboundFacts): Promise<InboundPlan> {
  let plan = planInbound(facts, context.view, context.route);
  for (let round = 1; round < planRounds && plan.kind === 'needs'; round++) {
    await lookUp(context, plan.keys);
    plan = planInbound(facts, context.view, context.route);
  }
  return plan;
}

function deliver(
  context: PodContext,
  peer: Peer,
  request: Request,
  local: Workload,
  plan: Delivery,
  held: HeldRequest,
  startedAt: number,
  onGone: (undo: () => void) => void,
): void {
  const entry = context.ledger.open({
    reporter: 'destination',
    source: plan.source,
    sourceBaggage: context.config.responseBaggage ? request.baggage : undefined,
    destination: local,
    service: plan.service,
    mutualTls: true,
    sourceIdentity: peer.identity,
    sourceAddress: peer.address,
    destinationAddress: peer.connection,
    hboneAddress: request.authority,
    startedAt,
  });
  const subject = {
    sourceIp: peer.address.ip,
    destinationIp: plan.destination.ip,
    destinationPort: plan.destination.port,
    identity: peer.identity,
  };
  const verdict = (workload: Workload) =>
    decide(context.view.policiesFor(workload), subject, { unknownPolicy: context.config.unknownPolicy });
  const relay = new Relay(
    {
      pod: context.pod.uid,
      direction: 'inbound',
      source: peer.address,
      originalDestination: plan.service?.hostname,
      actualDestination: plan.target,
      protocol: 'HBONE',
      stillAllowed: () => stillAllowed(context, (workload) => verdict(workload).allow),
    },
    entry,
    context.live,
    false,
  );
  const first = verdict(localWorkload(context) ?? local);
  for (const note of first.notes)
    context.log.log(context.config.policyLogLevel, note.message, { policy: note.policy });
  if (!first.allow) {
    relay.fail(new MeshError(first.code, first.reason));
    held.refuse(401);
    return;
  }
  const dialing = dial(
    context.dialer,
    { netns: context.netns, to: plan.target, from: plan.sourceAddress, kind: 'application' },
    (socket) => {
      if (relay.ended) {
        socket.destroy();
        return;
      }
      if (plan.proxyProtocol !== undefined)
        socket.write(encodeProxyHeader(peer.address, plan.proxyProtocol.destination, peer.identity));
      held.open(context.config.responseBaggage ? [['baggage', encodeBaggage(local)]] : [], () => {
        const splice = new Splice(socket, held.stream, relay.done);
        relay.started(splice);
        return splice;
      });
    },
    (error) => {
      relay.fail(error);
      held.refuse(503);
    },
  );
  if (dialing === undefined) return;
  relay.onClose((code) => {
    dialing[Symbol.dispose]();
    held.refuse(code === 'POLICY_CHANGED' ? 401 : 503);
  });
  onGone(() => {
    dialing[Symbol.dispose]();
    relay.fail(abandoned(context));
  });
}

// Port 15001: connections that the pod's applications open. Finds out where each wanted to go, asks `route` for a
// plan, and carries it out.
import type { Socket } from 'node:net';
import { resolve4, resolve6 } from 'node:dns/promises';
import { errorText, MeshError } from '#/errors/index.ts';
import { isLoopback, type Ip, type SocketAddress } from '#/kit/index.ts';
import {
  workloadIdentity,
  type HboneHop,
  type OutboundFacts,
  type OutboundPlan,
  type Passthrough,
} from '#/model/index.ts';
import { planOutbound } from '#/route/index.ts';
import { PlainSplice, Splice } from '#/tunnel/index.ts';
import { dial } from './dial.ts';
import { openTunnel } from './outbound-tunnel.ts';
import {
  abandoned,
  awaitLocalWorkload,
  cut,
  endsOf,
  guard,
  localWorkload,
  lookUp,
  type PodContext,
} from './pod-context.ts';
import { Relay } from './relay.ts';

/** Rounds of "needs" before a plan counts as impossible. Each waypoint or gateway behind the destination takes one. */
const planRounds = 6;

/** Takes a connection that was accepted, paused. Never throws. */
export function acceptOutbound(context: PodContext, socket: Socket): void {
  guard(socket);
  const startedAt = context.clock.now();
  const ends = endsOf(context, socket, true);
  if (ends === undefined) return;
  const { peer: sourceAddress, destination } = ends;
  void handle(context, socket, sourceAddress, destination, startedAt).catch((error: unknown) => {
    context.ledger.refuse({
      reporter: 'source',
      sourceAddress,
      destinationAddress: destination,
      reason: errorText(error),
    });
    cut(socket);
  });
}

async function handle(
  context: PodContext,
  socket: Socket,
  sourceAddress: SocketAddress,
  destination: SocketAddress,
  startedAt: number,
): Promise<void> {
  if (isLoopback(destination.ip) && context.route.illegalPorts.has(destination.port))
    throw new MeshError('SELF_CALL');
  if (context.live.countOf(context.pod.uid) >= context.config.maxConnectionsPerPod)
    throw new MeshError('OVER_LIMIT');
  const source = localWorkload(context) ?? (await awaitLocalWorkload(context));
  const facts: OutboundFacts = {
    source,
    sourceAddress,
    originalDestination: destination,
    network: context.config.network,
  };
  let plan = planOutbound(facts, context.view, Math.random, context.route);
  if (plan.kind === 'needs') plan = await planWithNeeds(context, facts);
  if (socket.destroyed) throw abandoned(context);
  switch (plan.kind) {
    case 'needs':
      throw new MeshError(
        'NO_ROUTE',
        'no valid routing destination for workload: the control plane does not answer',
      );
    case 'reject':
      throw new MeshError(plan.code, plan.reason);
    case 'passthrough':
      passThrough(context, socket, facts, plan, startedAt);
      return;
    case 'hbone':
      await tunnel(context, socket, facts, plan, startedAt);
      return;
    case 'double-hbone':
      throw new MeshError(
        'UNSUPPORTED',
        `not supported: ${plan.authority} is on another network (double HBONE)`,
      );
  }
}

async function planWithNeeds(context: PodContext, facts: OutboundFacts): Promise<OutboundPlan> {
  const resolved = new Map<string, readonly Ip[]>();
  let plan: OutboundPlan = { kind: 'needs', keys: [], hostnames: [] };
  for (let round = 0; round < planRounds && plan.kind === 'needs'; round++) {
    plan = planOutbound({ ...facts, resolved }, context.view, Math.random, context.route);
    if (plan.kind !== 'needs') break;
    const wanted = plan;
    await Promise.all([
      lookUp(context, wanted.keys),
      ...wanted.hostnames.map(async (hostname) => {
        resolved.set(hostname, await resolve(hostname));
      }),
    ]);
  }
  return plan;
}

async function resolve(hostname: string): Promise<readonly Ip[]> {
  const answers = await Promise.allSettled([resolve4(hostname), resolve6(hostname)]);
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? (answer.value as Ip[]) : []));
}

function passThrough(
  context: PodContext,
  socket: Socket,
  facts: OutboundFacts,
  plan: Passthrough,
  startedAt: number,
): void {
  const entry = context.ledger.open({
    reporter: 'source',
    source: facts.source,
    destination: plan.destination,
    service: plan.service,
    mutualTls: false,
    sourceAddress: facts.sourceAddress,
    destinationAddress: plan.nextHop,
    startedAt,
  });
  const relay = newRelay(context, facts, plan.nextHop, 'TCP', entry);
  const dialing = dial(
    context.dialer,
    { netns: context.netns, to: plan.nextHop, kind: 'remote' },
    (server) => relay.started(new PlainSplice(socket, server, relay.done)),
    (error) => {
      relay.fail(error);
      cut(socket);
    },
  );
  if (dialing === undefined) return;
  relay.onClose(() => {
    dialing[Symbol.dispose]();
    cut(socket);
  });
}

async function tunnel(
  context: PodContext,
  socket: Socket,
  facts: OutboundFacts,
  plan: HboneHop,
  startedAt: number,
): Promise<void> {
  const entry = context.ledger.open({
    reporter: 'source',
    source: facts.source,
    destination: plan.destination,
    service: plan.service,
    mutualTls: true,
    sourceIdentity: workloadIdentity(facts.source),
    sourceAddress: facts.sourceAddress,
    destinationAddress: plan.nextHop,
    hboneAddress: plan.authority,
    startedAt,
  });
  const relay = newRelay(context, facts, plan.nextHop, 'HBONE', entry);
  relay.onClose(() => cut(socket));
  try {
    await openTunnel(context, facts, plan, (stream) => {
      if (relay.ended || socket.destroyed) return undefined;
      const splice = new Splice(socket, stream, relay.done);
      relay.started(splice);
      return splice;
    });
    if (!relay.ended && socket.destroyed) relay.fail(abandoned(context));
  } catch (error) {
    relay.fail(error instanceof MeshError ? error : new MeshError('CONNECT_FAILED', errorText(error)));
    cut(socket);
  }
}

function newRelay(
  context: PodContext,
  facts: OutboundFacts,
  nextHop: SocketAddress,
  protocol: 'HBONE' | 'TCP',
  entry: ConstructorParameters<typeof Relay>[1],
): Relay {
  return new Relay(
    {
      pod: context.pod.uid,
      direction: 'outbound',
      source: facts.sourceAddress,
      originalDestination: facts.originalDestination,
      actualDestination: nextHop,
      protocol,
    },
    entry,
    context.live,
    true,
  );
}

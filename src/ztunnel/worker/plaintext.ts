// Port 15006: connections that reach the pod without a tunnel. They have no identity; policy decides with that.
import type { Socket } from 'node:net';
import { errorText, MeshError } from '#/errors/index.ts';
import type { SocketAddress } from '#/kit/index.ts';
import type { Delivery, PlaintextFacts, Workload } from '#/model/index.ts';
import { decide } from '#/policy/index.ts';
import { planPlaintext } from '#/route/index.ts';
import { PlainSplice } from '#/tunnel/index.ts';
import { dial } from './dial.ts';
import {
  abandoned,
  awaitLocalWorkload,
  cut,
  endsOf,
  guard,
  localWorkload,
  lookUp,
  stillAllowed,
  type PodContext,
} from './pod-context.ts';
import { Relay } from './relay.ts';

const planRounds = 4;

/** Takes a connection that was accepted, paused. Never throws. */
export function acceptPlaintext(context: PodContext, socket: Socket): void {
  guard(socket);
  const startedAt = context.clock.now();
  const ends = endsOf(context, socket, true);
  if (ends === undefined) return;
  const { peer, destination } = ends;
  void handle(context, socket, peer, destination, startedAt).catch((error: unknown) => {
    context.ledger.refuse({
      reporter: 'destination',
      sourceAddress: peer,
      destinationAddress: destination,
      reason: errorText(error),
    });
    cut(socket);
  });
}

async function handle(
  context: PodContext,
  socket: Socket,
  peer: SocketAddress,
  destination: SocketAddress,
  startedAt: number,
): Promise<void> {
  if (context.route.illegalPorts.has(destination.port)) throw new MeshError('SELF_CALL');
  if (context.live.countOf(context.pod.uid) >= context.config.maxConnectionsPerPod)
    throw new MeshError('OVER_LIMIT');
  const local = localWorkload(context) ?? (await awaitLocalWorkload(context));
  const facts: PlaintextFacts = {
    local,
    peer,
    originalDestination: destination,
    network: context.config.network,
  };
  let plan = planPlaintext(facts, context.view, context.route);
  for (let round = 1; round < planRounds && plan.kind === 'needs'; round++) {
    await lookUp(context, plan.keys);
    plan = planPlaintext(facts, context.view, context.route);
  }
  if (socket.destroyed) throw abandoned(context);
  if (plan.kind === 'needs') throw new MeshError('NO_ROUTE', 'the control plane does not answer');
  if (plan.kind === 'reject') throw new MeshError(plan.code, plan.reason);
  deliver(context, socket, facts, plan, startedAt);
}

function deliver(
  context: PodContext,
  socket: Socket,
  facts: PlaintextFacts,
  plan: Delivery,
  startedAt: number,
): void {
  const entry = context.ledger.open({
    reporter: 'destination',
    source: plan.source,
    destination: facts.local,
    service: plan.service,
    mutualTls: false,
    sourceAddress: facts.peer,
    destinationAddress: facts.originalDestination,
    startedAt,
  });
  const subject = {
    sourceIp: facts.peer.ip,
    destinationIp: plan.destination.ip,
    destinationPort: plan.destination.port,
  };
  const verdict = (local: Workload) =>
    decide(context.view.policiesFor(local), subject, { unknownPolicy: context.config.unknownPolicy });
  const relay = new Relay(
    {
      pod: context.pod.uid,
      direction: 'inbound',
      source: facts.peer,
      originalDestination: undefined,
      actualDestination: plan.target,
      protocol: 'TCP',
      stillAllowed: () => stillAllowed(context, (local) => verdict(local).allow),
    },
    entry,
    context.live,
    true,
  );
  const first = verdict(localWorkload(context) ?? facts.local);
  for (const note of first.notes)
    context.log.log(context.config.policyLogLevel, note.message, { policy: note.policy });
  if (!first.allow) {
    relay.fail(new MeshError(first.code, first.reason));
    cut(socket);
    return;
  }
  const dialing = dial(
    context.dialer,
    { netns: context.netns, to: plan.target, from: plan.sourceAddress, kind: 'application' },
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

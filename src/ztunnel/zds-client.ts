// The proxy's end of ZDS: connects to the node agent, takes pods with their namespaces, acknowledges each message.
// A message that cannot be read is refused and ends the connection, since what else is in the pipe cannot be
// trusted either; an agent that breaks the protocol ends the program, since pods could otherwise run uncaptured
// without anybody knowing (upstream does both).
import { backoffDelay, type Clock, type Logger } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';
import { SeqpacketConnection, type Kernel } from '#/sys/index.ts';
import { decodeWorkloadRequest, encodeAck, encodeHello, type WorkloadRequest } from '#/wire/index.ts';
import type { Pods } from './pods.ts';

/** The agent has broken the protocol: the message says how. */
export class ZdsProtocolError extends Error {}

export interface ZdsClientOptions {
  readonly path: string;
  readonly pods: Pods;
  readonly kernel: Kernel;
  readonly log: Logger;
  readonly clock: Clock;
  readonly onConnected: (connected: boolean) => void;
}

/** A datagram that says nothing we can carry out. The agent has been told. */
class BadMessage extends Error {}

const connectBackoff = { initial: 10, max: 15_000 };

/** Runs until the signal is raised. Rejects with ZdsProtocolError only. */
export async function runZdsClient(options: ZdsClientOptions, signal: AbortSignal): Promise<void> {
  const { log, clock } = options;
  let failures = 0;
  while (!signal.aborted) {
    try {
      using connection = await SeqpacketConnection.connect(options.path);
      const onAbort = (): void => connection.close();
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        log.info('connected to the node agent', { path: options.path });
        await serve(connection, options, () => {
          failures = 0;
        });
        if (signal.aborted) return;
        throw new Error('the node agent closed the connection');
      } finally {
        signal.removeEventListener('abort', onAbort);
        options.onConnected(false);
      }
    } catch (error) {
      if (error instanceof ZdsProtocolError) throw error;
      if (signal.aborted) return;
      const message =
        error instanceof BadMessage
          ? 'the node agent sent a message that cannot be read; connecting anew'
          : `the node agent at ${options.path} cannot be reached or was lost; trying again`;
      // Once a minute at the longest delay is enough to be seen.
      log.log(failures < 3 || failures % 4 === 0 ? 'warn' : 'debug', message, { error: errorText(error) });
    }
    await clock.sleep(backoffDelay(connectBackoff, failures++), signal).catch(() => {});
  }
}

/** Returns when the connection is closed. `onSynced`: the agent has said all that it knows. */
async function serve(
  connection: SeqpacketConnection,
  options: ZdsClientOptions,
  onSynced: () => void,
): Promise<void> {
  await connection.send(encodeHello());
  options.pods.beginSnapshot();
  for (;;) {
    const datagram = await read(connection, options.kernel);
    if (datagram === undefined) return;
    const refusal = await take(datagram, connection, options);
    await connection.send(encodeAck(refusal));
    if (!options.pods.synced) continue;
    onSynced();
    options.onConnected(true);
  }
}

interface Message {
  readonly request: WorkloadRequest;
  /** Only with `add`. */
  readonly fd: number | undefined;
}

/** Undefined when the agent has closed. Rejects with BadMessage; no fd of the message is then open. */
async function read(connection: SeqpacketConnection, kernel: Kernel): Promise<Message | undefined> {
  let fds: readonly number[] = [];
  try {
    const datagram = await connection.receive();
    if (datagram === undefined) return undefined;
    fds = datagram.fds;
    const request = decodeWorkloadRequest(datagram.bytes);
    const wanted = request.kind === 'add' ? 1 : 0;
    if (fds.length !== wanted)
      throw new Error(`${request.kind} came with ${fds.length} file descriptors instead of ${wanted}`);
    return { request, fd: fds[0] };
  } catch (error) {
    closeAll(kernel, fds);
    await refuse(connection, `the message cannot be read: ${errorText(error)}`);
    throw new BadMessage(errorText(error), { cause: error });
  }
}

/** Carries out one message. Returns the text of a refusal, or undefined. */
async function take(
  { request, fd }: Message,
  connection: SeqpacketConnection,
  options: ZdsClientOptions,
): Promise<string | undefined> {
  const { pods } = options;
  switch (request.kind) {
    case 'add':
      return await add(request, fd as number, connection, options);
    case 'keep':
      if (!pods.keep(request.uid)) await breach(connection, `Keep of ${request.uid} after the snapshot`);
      return undefined;
    case 'del':
      await pods.remove(request.uid);
      return undefined;
    case 'snapshot-sent':
      if (!(await pods.snapshotSent())) await breach(connection, 'a second SnapshotSent');
      return undefined;
  }
}

async function add(
  request: Extract<WorkloadRequest, { kind: 'add' }>,
  fd: number,
  connection: SeqpacketConnection,
  options: ZdsClientOptions,
): Promise<string | undefined> {
  if (request.info === undefined) {
    options.kernel.close(fd);
    return await breach(connection, `Add of ${request.uid} without workload_info`);
  }
  try {
    // adoptNetns closes an fd that is not a network namespace. That is this pod's misfortune, not the others':
    // the agent is told, and tries again.
    await options.pods.add(request.uid, request.info, options.kernel.adoptNetns(fd));
    return undefined;
  } catch (error) {
    return `failed to start pod ${request.info.namespace}/${request.info.name} (${request.uid}): ${errorText(error)}`;
  }
}

function closeAll(kernel: Kernel, fds: readonly number[]): void {
  for (const fd of fds) kernel.close(fd);
}

/** The agent may be gone already, or not read: that changes nothing about what was wrong. */
async function refuse(connection: SeqpacketConnection, why: string): Promise<void> {
  await connection.send(encodeAck(why)).catch(() => {});
}

async function breach(connection: SeqpacketConnection, what: string): Promise<never> {
  const message = `the node agent broke the protocol: ${what}`;
  await refuse(connection, message);
  throw new ZdsProtocolError(message);
}

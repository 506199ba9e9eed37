// The proxy's end of ZDS: connects to the node agent, takes pods with their namespaces, acknowledges each message.
// A message that cannot be read ends the connection; an agent that breaks the protocol ends the program, since
// pods could otherwise run uncaptured without anybody knowing (upstream does the same).
import { backoffDelay, type Clock, type Logger } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';
import { SeqpacketConnection, type Datagram, type Kernel } from '#/sys/index.ts';
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
      } finally {
        signal.removeEventListener('abort', onAbort);
        options.onConnected(false);
      }
    } catch (error) {
      if (error instanceof ZdsProtocolError) throw error;
      if (signal.aborted) return;
      const message = `the node agent at ${options.path} cannot be reached or was lost; trying again`;
      // Once a minute at the longest delay is enough to be seen.
      log.log(failures < 3 || failures % 4 === 0 ? 'warn' : 'debug', message, { error: errorText(error) });
    }
    await clock.sleep(backoffDelay(connectBackoff, failures++), signal).catch(() => {});
  }
}

async function serve(
  connection: SeqpacketConnection,
  options: ZdsClientOptions,
  onGood: () => void,
): Promise<void> {
  await connection.send(encodeHello());
  options.pods.beginSnapshot();
  for (;;) {
    const datagram = await connection.receive();
    if (datagram === undefined) throw new Error('the node agent closed the connection');
    onGood();
    const refusal = await take(datagram, connection, options);
    await connection.send(encodeAck(refusal));
    if (options.pods.synced) options.onConnected(true);
  }
}

/** Carries out one message. Returns the text of a refusal, or undefined. */
async function take(
  datagram: Datagram,
  connection: SeqpacketConnection,
  options: ZdsClientOptions,
): Promise<string | undefined> {
  const { pods, kernel } = options;
  let request: WorkloadRequest;
  try {
    request = decodeWorkloadRequest(datagram.bytes);
  } catch (error) {
    closeAll(kernel, datagram.fds);
    await connection.send(encodeAck(errorText(error)));
    throw error;
  }
  if (request.kind !== 'add') closeAll(kernel, datagram.fds);
  switch (request.kind) {
    case 'add':
      return await add(request, datagram.fds, connection, options);
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
  fds: readonly number[],
  connection: SeqpacketConnection,
  options: ZdsClientOptions,
): Promise<string | undefined> {
  const [fd, ...more] = fds;
  if (fd === undefined || more.length > 0) {
    closeAll(options.kernel, fds);
    await breach(connection, `Add of ${request.uid} with ${fds.length} file descriptors instead of one`);
    return undefined;
  }
  if (request.info === undefined) {
    options.kernel.close(fd);
    await breach(connection, `Add of ${request.uid} without workload_info`);
    return undefined;
  }
  try {
    // adoptNetns closes an fd that is not a network namespace.
    await options.pods.add(request.uid, request.info, options.kernel.adoptNetns(fd));
    return undefined;
  } catch (error) {
    return `failed to start pod ${request.info.namespace}/${request.info.name} (${request.uid}): ${errorText(error)}`;
  }
}

function closeAll(kernel: Kernel, fds: readonly number[]): void {
  for (const fd of fds) kernel.close(fd);
}

async function breach(connection: SeqpacketConnection, what: string): Promise<never> {
  const message = `the node agent broke the protocol: ${what}`;
  await connection.send(encodeAck(message));
  throw new ZdsProtocolError(message);
}

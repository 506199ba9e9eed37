// The thread of one extension. Loads its module into a sandbox, then answers calls one after the other.
import { workerData, type MessagePort } from 'node:worker_threads';
import { loadModule } from './sandbox.ts';
import type { Calls, FromThread, ThreadInit } from './protocol.ts';

const { port, init } = workerData as { port: MessagePort; init: ThreadInit };
const tell = (message: FromThread): void => port.postMessage(message);

/** If something of this realm gets into the sandbox all the same, it must not lead to the maker of functions. */
function closeDoors(): void {
  const makers = [() => {}, async () => {}, function* () {}, async function* () {}] as const;
  for (const maker of makers)
    Object.defineProperty(Object.getPrototypeOf(maker), 'constructor', { value: undefined });
}

const settle = (id: number, answer: string): void => tell([id, answer]);

function textOf(error: unknown): string {
  // Errors of the sandbox are none of this realm's.
  const { name, message } = error as { name?: unknown; message?: unknown };
  const text = typeof message === 'string' ? message : 'it throws what is no error';
  return typeof name === 'string' && name !== 'Error' ? `${name}: ${text}` : text;
}

try {
  const { phases, dispatch } = await loadModule(init, settle);
  closeDoors();
  port.on('message', (calls: Calls) => {
    for (let i = 0; i + 2 < calls.length; i += 3) {
      const id = calls[i] as number;
      const answer = dispatch(id, calls[i + 1] as number, calls[i + 2] as string);
      // One by one, so that an endless loop in a later call does not keep it back.
      if (answer !== undefined) settle(id, answer);
    }
  });
  tell({ ready: phases });
} catch (error) {
  const { code } = error as { code?: unknown };
  tell({ failed: textOf(error), late: code === 'ERR_SCRIPT_EXECUTION_TIMEOUT' });
}

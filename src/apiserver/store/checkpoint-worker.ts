// The thread that moves pages from the write-ahead log into the database. It waits for the disk, which would stop all
// requests for tens of milliseconds if the main thread did it. Program entry of a worker.
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

const { file } = workerData as { file: string };
const database = new DatabaseSync(file);
database.exec('PRAGMA busy_timeout=1000');
const passive = database.prepare('PRAGMA wal_checkpoint(PASSIVE)');
const truncate = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)');
/** Pages of 4 KiB: under writes without a pause the log would otherwise never begin anew. */
const longLog = 32_768;

interface Result {
  readonly log: number;
  readonly checkpointed: number;
}

parentPort?.on('message', () => {
  try {
    // Passive: it blocks nobody. Then, if need be, the little that was written meanwhile, for which writers wait.
    const { log, checkpointed } = passive.get() as unknown as Result;
    if (log > longLog) truncate.get();
    parentPort?.postMessage({ complete: log > longLog || log === checkpointed });
  } catch (error) {
    parentPort?.postMessage({ complete: false, error: String(error) });
  }
});

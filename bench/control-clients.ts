// The proxies of `npm run bench -- control`: bare clients of delta xDS in a process of their own. They take in a first
// push without looking into it, and tell when which workload came.
import { BareXdsClient } from './bare-xds-client.ts';
import { now } from './control-cluster.ts';

export type ClientsReport =
  /** So many clients have the whole mesh. */
  | {
      readonly kind: 'synced';
      readonly clients: number;
      readonly resources: number;
      readonly bytes: number;
      readonly at: number;
    }
  /** Deltas: each is one client that has got the workload of that name. */
  | { readonly kind: 'deltas'; readonly deltas: readonly { readonly name: string; readonly at: number }[] };

/** Reports go out in batches: a message for each arrival would delay the arrivals after it. */
const reportMs = 20;

if (process.argv[1] === import.meta.filename) {
  const [address = '', count = '1', measured = '0'] = process.argv.slice(2);
  const [host = '', port = '0'] = address.split(':');
  const clients = Number(count);
  const report = (message: ClientsReport): void => void process.send?.(message);
  let synced = 0;
  let deltas: { readonly name: string; readonly at: number }[] = [];
  const flush = (): void => {
    report({ kind: 'deltas', deltas });
    deltas = [];
  };
  const join = (id: number): void => {
    const client = new BareXdsClient(host, Number(port), id, {
      onFirst: (resources, bytes) => {
        synced++;
        report({ kind: 'synced', clients: synced, resources, bytes, at: now() });
        // One after another, four at a time: a thousand at once is another bench.
        if (id + 4 < clients) join(id + 4);
      },
      onDelta: (names) => {
        const at = now();
        for (const name of names) {
          // Names end in the pod's number; those of the churn are not asked for.
          if (Number.parseInt(name.slice(name.lastIndexOf('-') + 1), 36) >= Number(measured)) continue;
          if (deltas.length === 0) setTimeout(flush, reportMs);
          deltas.push({ name, at });
        }
      },
      onEnd: (reason) => {
        process.stderr.write(`client ${id}: ${reason}\n`);
        process.exit(1);
      },
    });
    void client;
  };
  for (let id = 0; id < Math.min(4, clients); id++) join(id);
  process.on('disconnect', () => process.exit(0));
}

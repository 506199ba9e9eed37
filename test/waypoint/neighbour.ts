// A program for a client's pod: a client that behaves, beside one that does not. Asks for one address again and again,
// each time over a connection of its own and over a kept one in turns, until a file is there; then tells as JSON what it got.
import { existsSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Told {
  /** How often each came: a status, or what went wrong. `bypass`: the application was reached, but by no waypoint. */
  readonly counts: Readonly<Record<string, number>>;
  /** The longest time without a 200, milliseconds. */
  readonly longestGapMs: number;
}

const kept = new Agent({ keepAlive: true, maxSockets: 1 });

const ask = (url: string, agent: Agent | false, timeoutMs: number): Promise<string> =>
  new Promise((resolve) => {
    const request = get(url, { agent, timeout: timeoutMs }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
      response.on('error', () => resolve('cut'));
      response.on('end', () => {
        if (!response.complete) resolve('cut');
        else if (response.statusCode !== 200) resolve(String(response.statusCode));
        else resolve(body.toLowerCase().includes('"x-request-id"') ? '200' : 'bypass');
      });
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });

async function run(url: string, until: string, everyMs: number, timeoutMs: number): Promise<Told> {
  const counts: Record<string, number> = {};
  let last = Date.now();
  let longestGapMs = 0;
  // A few at least, however short the time.
  for (let i = 0; i < 5 || !existsSync(until); i++) {
    const got = await ask(url, i % 2 === 0 ? kept : false, timeoutMs);
    counts[got] = (counts[got] ?? 0) + 1;
    const now = Date.now();
    if (got === '200') {
      longestGapMs = Math.max(longestGapMs, now - last);
      last = now;
    }
    await sleep(everyMs);
  }
  return { counts, longestGapMs: Math.max(longestGapMs, Date.now() - last) };
}

if (import.meta.main) {
  const [url = '', until = '', everyMs = '50', timeoutMs = '15000'] = process.argv.slice(2);
  process.stdout.write(JSON.stringify(await run(url, until, Number(everyMs), Number(timeoutMs))));
  process.exit(0);
}

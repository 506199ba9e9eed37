// Run inside a client's pod: `node watch-route.ts HOST PORT PATH HEADER`. Asks again and again on one connection, says
// `ready` after the first answer, and prints when (milliseconds since the epoch) the header's value was another.
import { Agent, get } from 'node:http';

const [host, port, path, header] = process.argv.slice(2) as [string, string, string, string];
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const giveUpAt = Date.now() + 30_000;

const ask = (): Promise<string | undefined> =>
  new Promise((resolve, reject) => {
    get({ host, port: Number(port), path, agent }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.headers[header] as string | undefined));
    }).on('error', reject);
  });

const first = await ask();
console.log('ready');
for (;;) {
  if ((await ask()) !== first) break;
  if (Date.now() > giveUpAt) throw new Error(`${header} stayed ${first}`);
  await new Promise((resolve) => setTimeout(resolve, 1));
}
console.log(Date.now());
process.exit(0);

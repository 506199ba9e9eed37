// A program for a client's pod: does to a server what no good client does, and tells as JSON what came of it. Its one
// argument is a file with an Order.
import { connect, type Socket } from 'node:net';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export type Order = { readonly host: string; readonly port: number } & (
  | {
      /** Sends each as it is, over a connection of its own. */
      readonly kind: 'raw';
      readonly cases: readonly { readonly name: string; readonly bytes: string }[];
      /** Longest wait for the end of the connection. */
      readonly waitMs: number;
    }
  /** HTTP/2 frames that ask for work and carry none, until the connection is ended. */
  | { readonly kind: 'flood'; readonly flood: Flood; readonly waitMs: number }
  /** Opens connections, says `hello` (or nothing) on each, and holds them until the file is there. */
  | { readonly kind: 'hold'; readonly count: number; readonly hello: string; readonly until: string }
  /** Opens connections and cuts them again, `atOnce` at a time. */
  | { readonly kind: 'storm'; readonly count: number; readonly atOnce: number; readonly hello: string }
);

export type Flood = 'rapid-reset' | 'continuation' | 'settings' | 'ping' | 'empty-data' | 'empty-headers';

export interface RawResult {
  readonly name: string;
  /** latin1 */
  readonly answer: string;
  readonly ended: boolean;
}

export interface FloodResult {
  readonly ended: boolean;
  /** Frames that went out before. */
  readonly frames: number;
  /** Error code of GOAWAY. */
  readonly goaway: number | undefined;
}

const open = (order: Order): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: order.host, port: order.port, noDelay: true });
    socket.once('connect', () => {
      socket.on('error', () => {});
      resolve(socket);
    });
    socket.once('error', reject);
  });

async function raw(order: Order & { kind: 'raw' }): Promise<RawResult[]> {
  return Promise.all(
    order.cases.map(async ({ name, bytes }) => {
      const socket = await open(order);
      let answer = '';
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
      const ended = new Promise<boolean>((resolve) => socket.once('close', () => resolve(true)));
      socket.write(Buffer.from(bytes, 'latin1'));
      const done = await Promise.race([ended, sleep(order.waitMs, false)]);
      socket.destroy();
      return { name, answer, ended: done };
    }),
  );
}

const frame = (type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0)]);
/** GET / of host `app`, with indexed fields. */
const get = Buffer.concat([Buffer.from([0x82, 0x86, 0x84, 0x41, 3]), Buffer.from('app')]);
const cancel = Buffer.from([0, 0, 0, 8]);

function floodFrames(kind: Flood, index: number): Buffer {
  const stream = 2 * index + 1;
  switch (kind) {
    case 'rapid-reset':
      return Buffer.concat([frame(1, 5, stream, get), frame(3, 0, stream, cancel)]);
    case 'continuation':
      return index === 0 ? frame(1, 0, 1, get) : frame(9, 0, 1, Buffer.from([0x40, 1, 0x78, 1, 0x79]));
    case 'settings':
      return frame(4, 0, 0);
    case 'ping':
      return frame(6, 0, 0, Buffer.alloc(8));
    case 'empty-data':
      return index === 0
        ? frame(1, 4, 1, Buffer.concat([Buffer.from([0x83]), get.subarray(1)]))
        : frame(0, 0, 1);
    case 'empty-headers':
      return index === 0 ? frame(1, 0, 1) : frame(9, 0, 1);
  }
}

function readGoaway(bytes: Buffer): number | undefined {
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3))
    if (bytes[at + 3] === 7 && at + 17 <= bytes.length) return bytes.readUInt32BE(at + 13);
  return undefined;
}

async function flood(order: Order & { kind: 'flood' }): Promise<FloodResult> {
  const socket = await open(order);
  const received: Buffer[] = [];
  let ended = false;
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  socket.once('close', () => (ended = true));
  socket.once('end', () => (ended = true));
  socket.write(preface);
  const until = Date.now() + order.waitMs;
  let frames = 0;
  while (!ended && Date.now() < until) {
    const some: Buffer[] = [];
    for (let i = 0; i < 50; i++) some.push(floodFrames(order.flood, frames++));
    if (!socket.write(Buffer.concat(some)))
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), sleep(100)]);
    else await sleep(1);
  }
  socket.destroy();
  return { ended, frames, goaway: readGoaway(Buffer.concat(received)) };
}

async function hold(order: Order & { kind: 'hold' }): Promise<{ opened: number; ended: number }> {
  let ended = 0;
  const sockets: Socket[] = [];
  for (let i = 0; i < order.count; i += 50)
    sockets.push(
      ...(await Promise.all(Array.from({ length: Math.min(50, order.count - i) }, () => open(order)))),
    );
  for (const socket of sockets) {
    socket.once('close', () => ended++);
    socket.resume();
    if (order.hello !== '') socket.write(order.hello);
  }
  process.stderr.write('held\n');
  while (!existsSync(order.until)) await sleep(50);
  const result = { opened: sockets.length, ended };
  for (const socket of sockets) socket.destroy();
  return result;
}

async function storm(order: Order & { kind: 'storm' }): Promise<{ opened: number; failed: number }> {
  let left = order.count;
  let opened = 0;
  let failed = 0;
  const one = async (): Promise<void> => {
    while (left-- > 0)
      try {
        const socket = await open(order);
        opened++;
        if (order.hello !== '') socket.write(order.hello);
        // Some are cut at once, some while the answer is on its way.
        if (opened % 2 === 0) await sleep(opened % 7);
        socket.resetAndDestroy();
      } catch {
        failed++;
      }
  };
  await Promise.all(Array.from({ length: order.atOnce }, one));
  return { opened, failed };
}

async function obey(order: Order): Promise<unknown> {
  switch (order.kind) {
    case 'raw':
      return raw(order);
    case 'flood':
      return flood(order);
    case 'hold':
      return hold(order);
    case 'storm':
      return storm(order);
  }
}

if (import.meta.main) {
  const order = JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as Order;
  // Timers of waits that are over would keep it alive.
  process.stdout.write(JSON.stringify(await obey(order)), () => process.exit(0));
}

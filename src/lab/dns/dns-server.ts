// The cluster's DNS server: UDP and TCP in front of the zone. Bounded: a datagram is answered or dropped at once,
// a TCP client may be silent for ten seconds and there are at most 200 of them.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { decode, encode, type Answer, type DecodedPacket, type Packet } from 'dns-packet';
import type { Logger } from '#/kit/index.ts';
import { answerQuestion, authority, type ZoneView } from './cluster-zone.ts';

export interface DnsServerOptions {
  readonly view: ZoneView;
  readonly domain: string;
  readonly host: string;
  readonly port: number;
  readonly log: Logger;
}

const rcodes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 } as const;
const authoritative = 1 << 10;
const truncated = 1 << 9;
const recursionDesired = 1 << 8;
const recursionAvailable = 1 << 7;

/** Fisher and Yates: clients that take the first address are spread over all of them. */
function shuffle<T>(list: readonly T[], random: () => number): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}

/**
 * The answer to one message, at most `limit` bytes over UDP (undefined over TCP). Undefined if the message is not
 * a query that can be answered at all.
 */
export function respond(
  message: Buffer,
  view: ZoneView,
  domain: string,
  udp: boolean,
  random: () => number = Math.random,
): Buffer | undefined {
  let query: DecodedPacket;
  try {
    query = decode(message);
  } catch {
    if (message.length < 12 || (message.readUInt16BE(2) & 0x8000) !== 0) return undefined;
    return encode({ type: 'response', id: message.readUInt16BE(0), flags: rcodes.FORMERR });
  }
  if (query.type !== 'query') return undefined;
  const base: Packet = {
    type: 'response',
    id: query.id ?? 0,
    questions: query.questions ?? [],
  };
  const desired = (query.flags ?? 0) & recursionDesired;
  if (((query.flags ?? 0) >> 11) & 0xf) return encode({ ...base, flags: desired | rcodes.NOTIMP });
  const question = query.questions?.[0];
  if (question === undefined || query.questions?.length !== 1)
    return encode({ ...base, flags: desired | rcodes.FORMERR });
  const found = answerQuestion(view, domain, question);
  const opt = query.additionals?.find((record) => record.type === 'OPT');
  const echo: Answer[] =
    opt?.type === 'OPT'
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: 1232,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ]
      : [];
  const flags = authoritative | recursionAvailable | desired | rcodes[found.rcode];
  const authorities = found.answers.length === 0 ? [authority(domain)] : [];
  // A chain of CNAMEs must keep its order; equal records need not.
  const answers = found.answers.some(({ type }) => type === 'CNAME')
    ? [...found.answers]
    : shuffle(found.answers, random);
  const whole = encode({
    ...base,
    flags,
    answers,
    authorities,
    additionals: [...found.additionals, ...echo],
  });
  if (!udp) return whole;
  const limit = Math.min(1232, Math.max(512, opt?.type === 'OPT' ? opt.udpPayloadSize : 512));
  if (whole.length <= limit) return whole;
  return encode({ ...base, flags: flags | truncated, additionals: echo });
}

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #clients = new Set<Socket>();

  constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#udp = createSocket({ type: options.host.includes(':') ? 'udp6' : 'udp4', reuseAddr: false });
    this.#tcp = createServer((socket) => this.#serve(socket));
    this.#tcp.maxConnections = 200;
  }

  /** The port in use. Throws if it cannot be bound. */
  async start(): Promise<number> {
    const { host, port, log } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#udp.once('error', reject);
      this.#udp.bind(port, host, () => {
        this.#udp.off('error', reject);
        resolve();
      });
    });
    this.#udp.on('error', (error) => log.warn('UDP socket', { error: error.message }));
    this.#udp.on('message', (message, peer) => {
      const answer = this.#respond(message, true);
      if (answer !== undefined) this.#udp.send(answer, peer.port, peer.address, () => {});
    });
    const bound = this.#udp.address().port;
    await new Promise<void>((resolve, reject) => {
      this.#tcp.once('error', reject);
      this.#tcp.listen(bound, host, () => {
        this.#tcp.off('error', reject);
        resolve();
      });
    });
    this.#tcp.on('error', (error) => log.warn('TCP listener', { error: error.message }));
    return bound;
  }

  #respond(message: Buffer, udp: boolean): Buffer | undefined {
    try {
      return respond(message, this.#options.view, this.#options.domain, udp);
    } catch (error) {
      this.#options.log.error('query failed', { error: (error as Error).message });
      return undefined;
    }
  }

  #serve(socket: Socket): void {
    let pending: Buffer = Buffer.alloc(0);
    this.#clients.add(socket);
    socket.on('close', () => this.#clients.delete(socket));
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const length = pending.readUInt16BE(0);
        const answer = this.#respond(pending.subarray(2, 2 + length), false);
        pending = pending.subarray(2 + length);
        if (answer === undefined) {
          socket.destroy();
          return;
        }
        const head = Buffer.alloc(2);
        head.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([head, answer]));
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#udp.close();
    for (const socket of this.#clients) socket.destroy();
    await new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
  }
}

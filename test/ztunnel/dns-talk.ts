// Both ends of DNS for tests in real namespaces: a client in a pod, and a name server in another.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, Socket, type Server } from 'node:net';
import {
  decode,
  encode,
  streamDecode,
  streamEncode,
  type Answer,
  type DecodedPacket,
  type Packet,
} from 'dns-packet';
import { isV6, unmapV4 } from '#/kit/index.ts';
import type { Netns } from '#/sys/index.ts';
import { kernel, type Pod } from './world.ts';

export type Reply = DecodedPacket & { readonly rcode: string };

export interface Question {
  readonly name: string;
  readonly type?: 'A' | 'AAAA' | 'TXT';
  readonly tcp?: boolean;
  /** With EDNS, and this payload size. */
  readonly payloadSize?: number;
  /** Where the application sends it. Nobody is there: the rules must send it elsewhere. */
  readonly server?: string;
  readonly port?: number;
}

const optRecord = (udpPayloadSize: number): Answer => ({
  type: 'OPT',
  name: '.',
  udpPayloadSize,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
});

let lastId = 0;

/** What an application in the pod is told; rejects after 6 s. */
export function dig(pod: Pod, question: Question): Promise<Reply> {
  const { name, type = 'A', payloadSize } = question;
  const message = encode({
    type: 'query',
    id: (lastId = (lastId % 65_535) + 1),
    flags: 0x100,
    questions: [{ name, type }],
    ...(payloadSize === undefined ? {} : { additionals: [optRecord(payloadSize)] }),
  });
  return say(pod, message, question);
}

/** As `dig`, with bytes of the test's own. */
export function say(
  pod: Pod,
  message: Buffer,
  { tcp = false, server = '10.96.0.10', port = 53 }: Omit<Question, 'name'> = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => end(() => reject(new Error('no answer within 6 s'))), 6000);
    const end = (then: () => void): void => {
      clearTimeout(late);
      if (socket instanceof Socket) socket.destroy();
      else socket.close();
      then();
    };
    const socket = tcp ? overTcp() : overUdp();

    function overTcp(): Socket {
      const made = kernel.connect({ netns: pod.netns, ip: server, port });
      let got = Buffer.alloc(0);
      made.on('data', (chunk: Buffer) => {
        got = Buffer.concat([got, chunk]);
        if (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0))
          end(() => resolve(streamDecode(got) as Reply));
      });
      made.on('error', (error) => end(() => reject(error)));
      const framed = Buffer.alloc(2);
      framed.writeUInt16BE(message.length);
      made.write(Buffer.concat([framed, message]));
      return made;
    }

    function overUdp(): UdpSocket {
      const made = datagrams(pod.netns, isV6(server) ? '::' : '0.0.0.0', 0);
      made.on('error', (error) => end(() => reject(error)));
      // Connected: an answer that does not come from the address that was asked is not taken.
      made.connect(port, server, () => made.send(message));
      made.on('message', (reply) => end(() => resolve(decode(reply) as Reply)));
      return made;
    }
  });
}

/** Sends bytes to port 53, over both protocols, and does not wait for what comes back. */
export function scatter(pod: Pod, all: readonly Uint8Array[]): Disposable {
  const server = '10.96.0.10';
  const udp = datagrams(pod.netns, '0.0.0.0', 0);
  udp.on('error', () => {});
  const sockets = all.map((bytes) => {
    udp.send(bytes, 53, server);
    const socket = kernel.connect({ netns: pod.netns, ip: server, port: 53 });
    socket.on('error', () => {});
    socket.write(bytes);
    return socket;
  });
  return {
    [Symbol.dispose]: () => {
      udp.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function datagrams(netns: Netns, host: string, port: number): UdpSocket {
  const socket = createSocket({ type: isV6(host) ? 'udp6' : 'udp4' });
  socket.bind({ fd: kernel.udpSocket({ netns, host, port }), exclusive: true });
  return socket;
}

export interface Heard {
  readonly name: string;
  readonly type: string;
  readonly from: string;
  readonly tcp: boolean;
  readonly payloadSize: number | undefined;
}

/** A name server on port 53 of a pod. Undefined answers nothing. */
export class NameServer implements Disposable {
  readonly heard: Heard[] = [];
  readonly #answer: (heard: Heard) => Packet | undefined;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;

  constructor(pod: Pod, answer: (heard: Heard) => Packet | undefined) {
    this.#answer = answer;
    const host = pod.ip6 === undefined ? '0.0.0.0' : '::';
    this.#udp = datagrams(pod.netns, host, 53);
    this.#udp.on('message', (message, peer) => {
      const reply = this.#reply(message, peer.address, false);
      if (reply !== undefined) this.#udp.send(encode(reply), peer.port, peer.address);
    });
    this.#tcp = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (bytes: Buffer) => {
        const reply = this.#reply(bytes.subarray(2), socket.remoteAddress ?? '', true);
        if (reply !== undefined) socket.write(streamEncode(reply));
      });
    });
    this.#tcp.listen({ fd: kernel.tcpListener({ netns: pod.netns, host, port: 53 }) });
  }

  #reply(message: Buffer, from: string, tcp: boolean): Packet | undefined {
    const query = decode(message);
    const question = query.questions?.[0];
    const opt = query.additionals?.find((record) => record.type === 'OPT');
    const heard: Heard = {
      name: question?.name ?? '',
      type: question?.type ?? '',
      from: unmapV4(from),
      tcp,
      payloadSize: opt?.type === 'OPT' ? opt.udpPayloadSize : undefined,
    };
    this.heard.push(heard);
    const answer = this.#answer(heard);
    if (answer === undefined) return undefined;
    return { flags: 0x180, ...answer, type: 'response', id: query.id ?? 0, questions: query.questions ?? [] };
  }

  [Symbol.dispose](): void {
    if (!this.#tcp.listening) return;
    this.#udp.close();
    this.#tcp.close();
  }
}

/** `TYPE data` of each answer, sorted. */
export const answersOf = (reply: Reply): string[] =>
  (reply.answers ?? [])
    .map((record) => ('data' in record ? `${record.type} ${String(record.data)}` : record.type))
    .sort();

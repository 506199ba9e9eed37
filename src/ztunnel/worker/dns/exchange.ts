// One question to one name server, from inside a pod's namespace: by datagram, and by TCP if the answer did not fit.
// Sockets carry the mark, so that the pod's own rules do not send the question back to us. Every datagram goes from
// a socket, and so a port, of its own: who cannot see it cannot forge the answer.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { formatSocketAddress, isV6, type Ip } from '#/kit/index.ts';
import type { Kernel, Netns } from '#/sys/index.ts';
import { encodeDnsQuery, readDnsAnswer, type DnsAnswer, type DnsQuestion } from '#/wire/index.ts';

export interface ExchangeOptions {
  readonly kernel: Kernel;
  readonly netns: Netns;
  readonly mark: number;
}

export interface ForwardedQuery {
  readonly question: DnsQuestion;
  readonly checkingDisabled: boolean;
  /** Absent: the client has not said that it knows EDNS. */
  readonly extension?: { readonly payloadSize: number; readonly dnssecOk: boolean };
}

export interface Exchange extends Disposable {
  /** Rejects when the server cannot be reached or breaks off. Never settles while it is silent: dispose then. */
  readonly answer: Promise<DnsAnswer>;
}

const dnsPort = 53;
/** Datagrams that answer another question, before their server is given up. */
const strayLimit = 16;

export function askNameserver(options: ExchangeOptions, server: Ip, query: ForwardedQuery): Exchange {
  const open: Disposable[] = [];
  let disposed = false;
  const answer = async (): Promise<DnsAnswer> => {
    const short = await overUdp(options, server, query, open);
    if (!short.truncated || disposed) return short;
    // The rest by TCP. A server that does not take it has said this much at least.
    return await overTcp(options, server, query, open).catch(() => short);
  };
  return {
    answer: answer(),
    [Symbol.dispose]: () => {
      disposed = true;
      for (const one of open.splice(0)) one[Symbol.dispose]();
    },
  };
}

const randomId = (): number => crypto.getRandomValues(new Uint16Array(1))[0] as number;

function overUdp(
  { kernel, netns, mark }: ExchangeOptions,
  server: Ip,
  query: ForwardedQuery,
  open: Disposable[],
): Promise<DnsAnswer> {
  return new Promise((resolve, reject) => {
    const id = randomId();
    const fd = kernel.udpSocket({ netns, host: isV6(server) ? '::' : '0.0.0.0', port: 0, mark });
    const socket = datagramSocket(kernel, fd, isV6(server));
    let closed = false;
    let strays = 0;
    const close = (): void => {
      if (!closed) socket.close();
      closed = true;
    };
    open.push({ [Symbol.dispose]: close });
    socket.on('error', (error) => {
      close();
      reject(error);
    });
    socket.on('message', (message) => {
      const answer = readDnsAnswer(message, id, query.question);
      if (answer !== undefined) {
        close();
        resolve(answer);
      } else if (++strays >= strayLimit) {
        close();
        reject(new Error(`${server} sends what is no answer`));
      }
    });
    // Connected: only the server is heard, and that its port is closed becomes known.
    socket.connect(dnsPort, server, () => {
      if (closed) return;
      socket.send(encodeDnsQuery(query.question, { id, ...query }), (error) => {
        if (error === null || closed) return;
        close();
        reject(error);
      });
    });
  });
}

/** Takes over the fd. */
export function datagramSocket(kernel: Kernel, fd: number, v6: boolean): UdpSocket {
  const socket = createSocket({ type: v6 ? 'udp6' : 'udp4' });
  try {
    socket.bind({ fd, exclusive: true });
    return socket;
  } catch (error) {
    socket.close();
    kernel.close(fd);
    throw error;
  }
}

function overTcp(
  { kernel, netns, mark }: ExchangeOptions,
  server: Ip,
  query: ForwardedQuery,
  open: Disposable[],
): Promise<DnsAnswer> {
  return new Promise((resolve, reject) => {
    const id = randomId();
    const socket: Socket = kernel.connect({
      netns,
      ip: server,
      port: dnsPort,
      mark,
      noDelay: true,
      allowHalfOpen: false,
    });
    open.push({ [Symbol.dispose]: () => void socket.destroy() });
    const received: Buffer[] = [];
    let size = 0;
    const fail = (why: string): void => {
      socket.destroy();
      reject(new Error(`${formatSocketAddress(server, dnsPort)} over TCP: ${why}`));
    };
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('closed without an answer'));
    socket.on('data', (chunk: Buffer) => {
      received.push(chunk);
      size += chunk.length;
      const length = size < 2 ? Infinity : 2 + Buffer.concat(received).readUInt16BE(0);
      if (size < length) return;
      const answer = readDnsAnswer(Buffer.concat(received).subarray(2, length), id, query.question);
      if (answer === undefined) return fail('what came is no answer');
      resolve(answer);
      socket.destroy();
    });
    socket.on('connect', () => socket.write(framed(encodeDnsQuery(query.question, { id, ...query }))));
  });
}

/** With its length in front, as over TCP (RFC 1035 section 4.2.2). */
export function framed(message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(2 + message.length);
  bytes.writeUInt16BE(message.length);
  bytes.set(message, 2);
  return bytes;
}

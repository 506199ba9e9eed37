// struct sockaddr_in and sockaddr_in6, written and read by hand in memory that is allocated once: these run
// for each connection. One thread, no call in between, hence one buffer is enough.
import { formatIp, parseIpBytes, type Ip, type SocketAddress } from '#/kit/index.ts';
import { AF_INET, AF_INET6 } from './libc.ts';

/** 128 bytes, as struct sockaddr_storage. Off the JavaScript heap, so that its address holds. */
export const sockaddr: Uint8Array = new Uint8Array(new ArrayBuffer(128));
export const sockaddrLength: Int32Array = new Int32Array(new ArrayBuffer(4));

/** Writes address and port to `sockaddr`; returns its length, or 0 if `ip` is no address. */
export function writeSockaddr(ip: string, port: number): 16 | 28 | 0 {
  const bytes = parseIpBytes(ip);
  if (bytes === undefined) return 0;
  const v4 = bytes.length === 4;
  sockaddr.fill(0, 0, 28);
  sockaddr[0] = v4 ? AF_INET : AF_INET6; // sa_family is in host order; both Linux ABIs are little-endian
  sockaddr[2] = port >> 8;
  sockaddr[3] = port & 0xff;
  sockaddr.set(bytes, v4 ? 4 : 8);
  return v4 ? 16 : 28;
}

/** Reads what the kernel put into `sockaddr`. Undefined if it is of another family. */
export function readSockaddr(): SocketAddress | undefined {
  const port = ((sockaddr[2] as number) << 8) | (sockaddr[3] as number);
  if (sockaddr[0] === AF_INET) return { ip: dotted(4), port };
  if (sockaddr[0] !== AF_INET6) return undefined;
  if (isMapped()) return { ip: dotted(20), port };
  return { ip: formatIp(sockaddr.subarray(8, 24)), port };
}

const dotted = (at: number): Ip =>
  `${sockaddr[at]}.${sockaddr[at + 1]}.${sockaddr[at + 2]}.${sockaddr[at + 3]}` as Ip;

/** ::ffff:a.b.c.d, an IPv4 peer of a dual-stack socket. */
function isMapped(): boolean {
  for (let i = 8; i < 18; i++) if (sockaddr[i] !== 0) return false;
  return sockaddr[18] === 0xff && sockaddr[19] === 0xff;
}

// The PROXY protocol, version 2, as far as an application behind the proxy is told of its client: both addresses
// and, in TLV 0xD0, the client's identity.
import { isV6, parseIpBytes, type SocketAddress } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';

const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const versionAndCommand = 0x21;
const tcpOverV4 = 0x11;
const tcpOverV6 = 0x21;
const identityTlv = 0xd0;

/** The header to send before the first byte of the client. Addresses of two families are both written as IPv6. */
export function encodeProxyHeader(
  source: SocketAddress,
  destination: SocketAddress,
  identity?: Identity,
): Uint8Array {
  const v6 = isV6(source.ip) || isV6(destination.ip);
  const name = Buffer.from(identity ?? '', 'utf8');
  const addresses = Buffer.concat([
    addressBytes(source, v6),
    addressBytes(destination, v6),
    portBytes(source),
    portBytes(destination),
  ]);
  const tlv =
    name.length === 0
      ? Buffer.alloc(0)
      : Buffer.concat([Buffer.from([identityTlv, name.length >> 8, name.length & 0xff]), name]);
  const length = addresses.length + tlv.length;
  const head = Buffer.from([versionAndCommand, v6 ? tcpOverV6 : tcpOverV4, length >> 8, length & 0xff]);
  return Buffer.concat([signature, head, addresses, tlv]);
}

function addressBytes({ ip }: SocketAddress, v6: boolean): Uint8Array {
  const bytes = parseIpBytes(ip);
  if (bytes === undefined) throw new TypeError(`'${ip}' is not an IP address`);
  return v6 && bytes.length === 4
    ? Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), bytes])
    : bytes;
}

function portBytes({ port }: SocketAddress): Uint8Array {
  return Buffer.from([port >> 8, port & 0xff]);
}

// Addresses on the wire: bytes of an IP, an IP in a network, a range, a gateway.
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { cidr, formatIp, parseIpBytes, type Cidr, type Ip, type IpBytes } from '#/kit/index.ts';
import type { GatewayAddress, NetworkAddress } from '#/model/index.ts';
import * as pb from './gen/istio/workload/workload_pb.ts';
import { at, fault, port } from './wire-error.ts';

export function decodeIp(field: string, bytes: IpBytes): Ip {
  if (bytes.length !== 4 && bytes.length !== 16)
    throw fault(field, `an IP address has 4 or 16 bytes, not ${bytes.length}`);
  return formatIp(bytes);
}

export function encodeIp(field: string, ip: string): IpBytes {
  const bytes = parseIpBytes(ip);
  if (bytes === undefined) throw fault(field, `not an IP address: ${JSON.stringify(ip)}`);
  return bytes;
}

/** Bytes and a prefix length as a range with its host bits cleared. */
export function decodeCidr(address: IpBytes, length: number): Cidr {
  decodeIp('address', address);
  if (length > address.length * 8)
    throw fault('length', `prefix length ${length} is greater than ${address.length * 8}`);
  return cidr(address, length);
}

export function decodeNetworkAddress(message: pb.NetworkAddress): NetworkAddress {
  return { network: message.network, ip: decodeIp('address', message.address) };
}

export function encodeNetworkAddress(
  address: NetworkAddress,
): MessageInitShape<typeof pb.NetworkAddressSchema> {
  return { network: address.network, address: encodeIp('address', address.ip) };
}

export function decodeGatewayAddress(message: pb.GatewayAddress): GatewayAddress {
  const hboneMtlsPort = port('hboneMtlsPort', message.hboneMtlsPort);
  const { destination } = message;
  switch (destination.case) {
    case 'address': {
      const { value } = destination;
      const whole = value.address.length * 8;
      if (value.length !== undefined && value.length !== whole)
        throw fault('address.length', 'a gateway is one address, not a range');
      return {
        destination: { kind: 'address', ...at('address', () => decodeNetworkAddress(value)) },
        hboneMtlsPort,
      };
    }
    case 'hostname': {
      const { namespace, hostname } = destination.value;
      if (hostname === '') throw fault('hostname', 'is empty');
      return { destination: { kind: 'hostname', namespace, hostname }, hboneMtlsPort };
    }
    case undefined:
      throw fault('destination', 'is not set');
  }
}

export function encodeGatewayAddress(gateway: GatewayAddress): pb.GatewayAddress {
  const { destination, hboneMtlsPort } = gateway;
  return create(pb.GatewayAddressSchema, {
    destination:
      destination.kind === 'address'
        ? { case: 'address', value: encodeNetworkAddress(destination) }
        : {
            case: 'hostname',
            value: { namespace: destination.namespace, hostname: destination.hostname },
          },
    hboneMtlsPort,
  });
}

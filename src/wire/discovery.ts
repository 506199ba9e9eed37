// The messages of delta xDS (envoy.service.discovery.v3). A server writes the same resource to hundreds of
// clients, so a resource's entry is encoded once, by encodeResourceEntry, and responses are put together
// from such entries without looking inside.
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import { parsed } from './wire-error.ts';

export const addressTypeUrl = 'type.googleapis.com/istio.workload.Address';
/** The workloads among the addresses, bare: what Envoy looks peers up by. */
export const workloadTypeUrl = 'type.googleapis.com/istio.workload.Workload';
export const authorizationTypeUrl = 'type.googleapis.com/istio.security.Authorization';

export const deltaMethodPath =
  '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

export type { DeltaDiscoveryRequest, DeltaDiscoveryResponse };
export type { JsonObject } from '@bufbuild/protobuf';
export type { Node, ControlPlane } from './gen/envoy/config/core/v3/base_pb.ts';
export type { Resource as DiscoveryResource } from './gen/envoy/service/discovery/v3/discovery_pb.ts';

const read = { readUnknownFields: false };

export function encodeDeltaRequest(
  request: MessageInitShape<typeof DeltaDiscoveryRequestSchema>,
): Uint8Array {
  return toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, request));
}

/** Throws WireError. */
export function decodeDeltaRequest(bytes: Uint8Array): DeltaDiscoveryRequest {
  return parsed('DeltaDiscoveryRequest', () => fromBinary(DeltaDiscoveryRequestSchema, bytes, read));
}

/** Throws WireError. The resources' bytes are views on `bytes`. */
export function decodeDeltaResponse(bytes: Uint8Array): DeltaDiscoveryResponse {
  return parsed('DeltaDiscoveryResponse', () => fromBinary(DeltaDiscoveryResponseSchema, bytes, read));
}

export interface ResourceEntry {
  readonly name: string;
  readonly version: string;
  readonly typeUrl: string;
  /** The encoded message that `typeUrl` names. */
  readonly resource: Uint8Array;
  readonly aliases?: readonly string[];
}

/** One resource as a response holds it, with its field tag: entries can be laid end to end. */
export function encodeResourceEntry(entry: ResourceEntry): Uint8Array {
  const writer = new BinaryWriter().tag(2, WireType.LengthDelimited).fork();
  if (entry.version !== '') writer.tag(1, WireType.LengthDelimited).string(entry.version);
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(entry.typeUrl);
  writer.tag(2, WireType.LengthDelimited).bytes(entry.resource);
  writer.join();
  writer.tag(3, WireType.LengthDelimited).string(entry.name);
  for (const alias of entry.aliases ?? []) writer.tag(4, WireType.LengthDelimited).string(alias);
  return writer.join().finish();
}

export interface ResponseHead {
  readonly systemVersion: string;
  readonly typeUrl: string;
  readonly nonce: string;
  /** ControlPlane.identifier; empty: not sent. */
  readonly controlPlane?: string;
}

/** The fields of a response that are not resources. Bytes of entries and of removals may stand before or after. */
export function encodeResponseHead(head: ResponseHead): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(head.systemVersion);
  writer.tag(4, WireType.LengthDelimited).string(head.typeUrl);
  writer.tag(5, WireType.LengthDelimited).string(head.nonce);
  if (head.controlPlane !== undefined && head.controlPlane !== '') {
    writer.tag(7, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(head.controlPlane).join();
  }
  return writer.finish();
}

/** `removed_resources`, as bytes that can stand anywhere in a response. */
export function encodeRemovals(names: Iterable<string>): Uint8Array {
  const writer = new BinaryWriter();
  for (const name of names) writer.tag(6, WireType.LengthDelimited).string(name);
  return writer.finish();
}

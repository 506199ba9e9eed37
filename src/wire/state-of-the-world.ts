// State-of-the-world xDS (StreamAggregatedResources), as far as istioctl asks a control plane about its proxies: one
// request, one response. Proxies use the delta form.
import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { NodeSchema, type Node } from './gen/envoy/config/core/v3/base_pb.ts';
import { fault, parsed } from './wire-error.ts';

export const streamMethodPath =
  '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources';

/** What istioctl asks by: the first of proxies' state, the second of a debug page by name. */
export const syncStatusTypeUrl = 'istio.io/debug/syncz';
export const debugTypeUrl = 'istio.io/debug';

export interface DiscoveryRequest {
  readonly typeUrl: string;
  readonly resourceNames: readonly string[];
  /** Set in acknowledgements. */
  readonly responseNonce: string;
  /** In the first request of a stream. */
  readonly node?: Node;
}

/** Throws WireError. */
export function decodeDiscoveryRequest(bytes: Uint8Array): DiscoveryRequest {
  return parsed('DiscoveryRequest', () => {
    const reader = new BinaryReader(bytes);
    const resourceNames: string[] = [];
    let typeUrl = '';
    let responseNonce = '';
    let node: Node | undefined;
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field >= 2 && field <= 5 && type !== WireType.LengthDelimited)
        throw fault(`field ${field}`, 'has the wrong wire type');
      switch (field) {
        case 2:
          node = fromBinary(NodeSchema, reader.bytes(), { readUnknownFields: false });
          break;
        case 3:
          resourceNames.push(reader.string());
          break;
        case 4:
          typeUrl = reader.string();
          break;
        case 5:
          responseNonce = reader.string();
          break;
        default:
          reader.skip(type, field);
      }
    }
    return { typeUrl, resourceNames, responseNonce, ...(node === undefined ? {} : { node }) };
  });
}

export interface DiscoveryAnswer {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly controlPlane: string;
  /** Each with the type URL of its own bytes. */
  readonly resources: readonly { readonly typeUrl: string; readonly value: Uint8Array }[];
}

export function encodeDiscoveryResponse(answer: DiscoveryAnswer): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(answer.nonce);
  for (const { typeUrl, value } of answer.resources) {
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(typeUrl);
    writer.tag(2, WireType.LengthDelimited).bytes(value).join();
  }
  writer.tag(4, WireType.LengthDelimited).string(answer.typeUrl);
  writer.tag(5, WireType.LengthDelimited).string(answer.nonce);
  writer.tag(6, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(answer.controlPlane).join();
  return writer.finish();
}

export const clientConfigTypeUrl = 'type.googleapis.com/envoy.service.status.v3.ClientConfig';

/** envoy.service.status.v3.ConfigStatus */
const configStatus = { synced: 1, 'never-sent': 2, stale: 3, rejected: 4 } as const;

export interface ClientConfig {
  readonly nodeId: string;
  /** Of the node's metadata, what is shown. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly types: readonly {
    readonly typeUrl: string;
    readonly state: keyof typeof configStatus;
    /** Milliseconds since the epoch. */
    readonly updated?: number;
    /** Why the last push was refused. */
    readonly error?: string;
  }[];
}

function timestamp(writer: BinaryWriter, field: number, ms: number): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.Varint).int64(BigInt(Math.floor(ms / 1000)));
  writer
    .tag(2, WireType.Varint)
    .int32(Math.floor((ms % 1000) * 1_000_000))
    .join();
}

/** envoy.service.status.v3.ClientConfig with generic_xds_configs. */
export function encodeClientConfig(config: ClientConfig): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(config.nodeId);
  writer.tag(3, WireType.LengthDelimited).fork();
  for (const [key, value] of Object.entries(config.metadata)) {
    // google.protobuf.Struct: a map entry, whose value is a Value with string_value.
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(key);
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(3, WireType.LengthDelimited).string(value).join().join();
  }
  writer.join().join();
  for (const { typeUrl, state, updated, error } of config.types) {
    writer.tag(3, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(typeUrl);
    if (updated !== undefined) timestamp(writer, 5, updated);
    writer.tag(6, WireType.Varint).int32(configStatus[state]);
    if (error !== undefined) {
      writer.tag(8, WireType.LengthDelimited).fork();
      if (updated !== undefined) timestamp(writer, 2, updated);
      writer.tag(3, WireType.LengthDelimited).string(error).join();
    }
    writer.join();
  }
  return writer.finish();
}

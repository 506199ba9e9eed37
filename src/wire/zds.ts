// Messages between the node agent and the node proxy (ZDS). One message is one datagram of at most 1024 bytes.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as pb from './gen/istio/zds/zds_pb.ts';
import { fault, parsed, WireError } from './wire-error.ts';

/** The longest datagram that either side reads. */
export const zdsMaxBytes = 1024;

export interface PodInfo {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** What the agent asks of the proxy. `add` travels with one file descriptor, the pod's network namespace. */
export type WorkloadRequest =
  | { readonly kind: 'add'; readonly uid: string; readonly info?: PodInfo }
  | { readonly kind: 'keep'; readonly uid: string }
  | { readonly kind: 'del'; readonly uid: string }
  | { readonly kind: 'snapshot-sent' };

export function encodeHello(): Uint8Array {
  return toBinary(pb.ZdsHelloSchema, create(pb.ZdsHelloSchema, { version: pb.Version.V1 }));
}

/** Returns the version, 1. Any other version is a WireError. */
export function decodeHello(bytes: Uint8Array): 1 {
  const { version } = parsed('ZdsHello', () => fromBinary(pb.ZdsHelloSchema, bytes));
  if (version !== pb.Version.V1) throw fault('version', `unknown version ${version}`);
  return 1;
}

export function encodeWorkloadRequest(request: WorkloadRequest): Uint8Array {
  const bytes = toBinary(
    pb.WorkloadRequestSchema,
    create(pb.WorkloadRequestSchema, { payload: payload(request) }),
  );
  if (bytes.length > zdsMaxBytes)
    throw new WireError('uid' in request ? request.uid : '', '', tooLong(bytes.length));
  return bytes;
}

type Payload = pb.WorkloadRequest['payload'];

const tooLong = (length: number) => `${length} bytes do not fit a datagram of ${zdsMaxBytes}`;

function payload(request: WorkloadRequest): Payload {
  switch (request.kind) {
    case 'add': {
      const value = create(pb.AddWorkloadSchema, { uid: request.uid });
      if (request.info) value.workloadInfo = create(pb.WorkloadInfoSchema, request.info);
      return { case: 'add', value };
    }
    case 'keep':
      return { case: 'keep', value: create(pb.KeepWorkloadSchema, { uid: request.uid }) };
    case 'del':
      return { case: 'del', value: create(pb.DelWorkloadSchema, { uid: request.uid }) };
    case 'snapshot-sent':
      return { case: 'snapshotSent', value: create(pb.SnapshotSentSchema) };
  }
}

/** A request without a kind or a uid is a WireError; an `add` without `info` is left to the caller to refuse. */
export function decodeWorkloadRequest(bytes: Uint8Array): WorkloadRequest {
  const message = parsed('WorkloadRequest', () => fromBinary(pb.WorkloadRequestSchema, bytes)).payload;
  switch (message.case) {
    case 'add': {
      const info = message.value.workloadInfo;
      return {
        kind: 'add',
        uid: uidOf(message.value),
        ...(info && {
          info: { name: info.name, namespace: info.namespace, serviceAccount: info.serviceAccount },
        }),
      };
    }
    case 'keep':
    case 'del':
      return { kind: message.case, uid: uidOf(message.value) };
    case 'snapshotSent':
      return { kind: 'snapshot-sent' };
    case undefined:
      throw fault('payload', 'unknown request');
  }
}

function uidOf({ uid }: { uid: string }): string {
  if (uid === '') throw fault('uid', 'is empty');
  return uid;
}

// Leaves room for tags and lengths around the text.
const maxErrorBytes = zdsMaxBytes - 16;

/** An acknowledgement; with an error, a refusal. A text that does not fit the datagram is cut. */
export function encodeAck(error = ''): Uint8Array {
  return toBinary(
    pb.WorkloadResponseSchema,
    create(pb.WorkloadResponseSchema, { payload: { case: 'ack', value: { error: cut(error) } } }),
  );
}

function cut(text: string): string {
  const bytes = new TextEncoder().encode(text.toWellFormed());
  if (bytes.length <= maxErrorBytes) return text.toWellFormed();
  let end = maxErrorBytes;
  // Never inside a character.
  while (((bytes[end] as number) & 0xc0) === 0x80) end--;
  return new TextDecoder().decode(bytes.subarray(0, end));
}

/** The error of a refusal, undefined for an acknowledgement. */
export function decodeAck(bytes: Uint8Array): string | undefined {
  const { payload: message } = parsed('WorkloadResponse', () => fromBinary(pb.WorkloadResponseSchema, bytes));
  if (message.case !== 'ack') throw fault('payload', 'not an Ack');
  return message.value.error === '' ? undefined : message.value.error;
}

// The gRPC services that a proxy asks about a request: external authorization, rate limits, external processing.
// Messages stay as protobuf has them, since they are looked into at one place each; what they mean is said there.
import { create, fromBinary, toBinary, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import type { Message } from '@bufbuild/protobuf';
import type { HeaderValueOption } from './gen/envoy/config/core/v3/base_pb.ts';
import { CheckRequestSchema, CheckResponseSchema } from './gen/envoy/service/auth/v3/external_auth_pb.ts';
import {
  ProcessingRequestSchema,
  ProcessingResponseSchema,
} from './gen/envoy/service/ext_proc/v3/external_processor_pb.ts';
import { RateLimitRequestSchema, RateLimitResponseSchema } from './gen/envoy/service/ratelimit/v3/rls_pb.ts';
import { parsed } from './wire-error.ts';

export interface MessageCodec<Init, Shape> {
  encode(init: Init): Uint8Array;
  /** Throws WireError. */
  decode(bytes: Uint8Array): Shape;
}

export interface ServiceMethod<RequestInit, Request, ResponseInit, Response> {
  readonly path: string;
  readonly request: MessageCodec<RequestInit, Request>;
  readonly response: MessageCodec<ResponseInit, Response>;
}

function codec<T extends Message>(
  schema: GenMessage<T>,
): MessageCodec<MessageInitShape<GenMessage<T>>, MessageShape<GenMessage<T>>> {
  const name = schema.typeName.slice(schema.typeName.lastIndexOf('.') + 1);
  return {
    encode: (init) => toBinary(schema, create(schema, init)),
    decode: (bytes) => parsed(name, () => fromBinary(schema, bytes)),
  };
}

export const checkMethod = {
  path: '/envoy.service.auth.v3.Authorization/Check',
  request: codec(CheckRequestSchema),
  response: codec(CheckResponseSchema),
} as const;

export const rateLimitMethod = {
  path: '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit',
  request: codec(RateLimitRequestSchema),
  response: codec(RateLimitResponseSchema),
} as const;

/** A stream in both directions. */
export const processMethod = {
  path: '/envoy.service.ext_proc.v3.ExternalProcessor/Process',
  request: codec(ProcessingRequestSchema),
  response: codec(ProcessingResponseSchema),
} as const;

/** What a header option does to the headers that are there. Without `append`, action 0 replaces, as for these services. */
export type HeaderAction = 'set' | 'append' | 'add-if-absent' | 'set-if-present';

export interface HeaderOption {
  /** Lower case. */
  readonly name: string;
  /** Bytes as latin1. */
  readonly value: string;
  readonly action: HeaderAction;
}

const actions: readonly HeaderAction[] = ['set', 'add-if-absent', 'set', 'set-if-present'];

export function headerOption({ header, append, appendAction }: HeaderValueOption): HeaderOption {
  const name = header?.key.toLowerCase() ?? '';
  const raw = header?.rawValue ?? new Uint8Array(0);
  const bytes = raw.length > 0 ? Buffer.from(raw) : Buffer.from(header?.value ?? '', 'utf8');
  const action = append === undefined ? (actions[appendAction] ?? 'set') : append ? 'append' : 'set';
  return { name, value: bytes.toString('latin1'), action };
}

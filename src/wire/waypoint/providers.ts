// Shapes of providers and of the mesh's settings on the wire.
import * as v from 'valibot';
import type { Provider, WaypointMesh } from '#/model/index.ts';
import {
  amount,
  count,
  exactly,
  flag,
  headerValue,
  optional,
  providerAddress,
  statusCode,
  text,
  textMap,
  texts,
} from './parts.ts';
import { retry } from './routes.ts';

const named = { kind: v.literal('provider'), name: text };

const extAuthz = {
  address: providerAddress,
  timeoutMs: amount,
  failOpen: flag,
  statusOnError: statusCode,
  includeBody: optional(v.object({ maxBytes: count, allowPartial: flag, packAsBytes: flag })),
  clearRouteCache: flag,
};

export const provider = exactly<Provider>()(
  v.variant('type', [
    v.object({
      ...named,
      type: v.literal('ext-authz-http'),
      ...extAuthz,
      pathPrefix: text,
      includeRequestHeaders: texts,
      additionalHeaders: v.array(headerValue),
      headersToUpstreamOnAllow: texts,
      headersToDownstreamOnAllow: texts,
      headersToDownstreamOnDeny: texts,
    }),
    v.object({ ...named, type: v.literal('ext-authz-grpc'), ...extAuthz }),
    v.object({
      ...named,
      type: v.literal('opentelemetry'),
      address: providerAddress,
      httpPath: optional(text),
      headers: v.array(headerValue),
      maxTagLength: count,
    }),
    v.object({ ...named, type: v.literal('zipkin'), address: providerAddress, path: text, w3c: flag }),
    v.object({
      ...named,
      type: v.literal('file-access-log'),
      path: text,
      text: optional(text),
      labels: optional(textMap),
    }),
    v.object({ ...named, type: v.literal('prometheus') }),
  ]),
);

export const waypointMesh = exactly<WaypointMesh>()(
  v.object({
    kind: v.literal('waypoint-mesh'),
    name: v.literal('mesh'),
    trustDomain: text,
    trustDomainAliases: texts,
    rootNamespace: text,
    meshId: text,
    defaultRetry: optional(retry),
    accessLogFile: text,
    accessLogFormat: text,
    accessLogEncoding: v.picklist(['TEXT', 'JSON']),
    defaultProviders: v.object({ accessLogging: texts, metrics: texts, tracing: texts }),
    connectTimeoutMs: amount,
    hboneIdleTimeoutMs: amount,
    pathNormalization: optional(v.picklist(['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'])),
  }),
);

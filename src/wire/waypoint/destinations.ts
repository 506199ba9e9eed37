// Shapes of destination policies and subsets on the wire.
import * as v from 'valibot';
import type { DestinationPolicy, SubsetMembers } from '#/model/index.ts';
import { amount, count, exactly, flag, optional, port, statusCode, text, texts } from './parts.ts';

const hashKey = v.variant('kind', [
  v.object({ kind: v.picklist(['header', 'query']), name: text }),
  v.object({
    kind: v.literal('cookie'),
    name: text,
    path: optional(text),
    ttlSeconds: optional(amount),
    attributes: optional(v.array(v.object({ name: text, value: optional(text) }))),
  }),
  v.object({ kind: v.literal('source-ip') }),
]);

const balancing = v.variant('kind', [
  v.object({ kind: v.picklist(['least-request', 'random', 'round-robin', 'passthrough']) }),
  v.object({
    kind: v.literal('hash'),
    ring: v.picklist(['ring-hash', 'maglev']),
    minimumRingSize: count,
    by: hashKey,
  }),
]);

const locality = v.object({
  enabled: flag,
  distribute: optional(
    v.array(v.object({ from: text, to: v.array(v.object({ locality: text, weight: count })) })),
  ),
  failover: optional(v.array(v.object({ from: text, to: text }))),
  failoverPriority: optional(texts),
});

const limits = v.object({
  maxConnections: optional(count),
  connectTimeoutMs: optional(amount),
  tcpKeepalive: optional(
    v.object({ probes: optional(count), timeMs: optional(amount), intervalMs: optional(amount) }),
  ),
  maxConnectionDurationMs: optional(amount),
  tcpIdleTimeoutMs: optional(amount),
  maxPendingRequests: optional(count),
  maxRequests: optional(count),
  maxRequestsPerConnection: optional(count),
  maxRetries: optional(count),
  idleTimeoutMs: optional(amount),
  upgradeToHttp2: optional(v.picklist(['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'])),
  useClientProtocol: optional(flag),
  maxConcurrentStreams: optional(count),
  http2Keepalive: optional(v.object({ intervalMs: amount, timeoutMs: amount })),
});

const percent = v.pipe(amount, v.maxValue(100));

const outliers = v.object({
  consecutive5xx: optional(count),
  consecutiveGatewayErrors: optional(count),
  splitLocalOriginErrors: optional(flag),
  consecutiveLocalOriginFailures: optional(count),
  errorCodes: optional(v.array(statusCode)),
  intervalMs: amount,
  baseEjectionMs: amount,
  maxEjectionPercent: percent,
  minHealthPercent: percent,
});

const tls = v.object({
  mode: v.picklist(['SIMPLE', 'MUTUAL']),
  sni: optional(text),
  subjectAltNames: texts,
  caPem: optional(text),
  certificatePem: optional(text),
  keyPem: optional(text),
  insecureSkipVerify: flag,
});

const settings = v.object({
  balancing: optional(balancing),
  locality: optional(locality),
  warmup: optional(v.object({ durationMs: amount, minimumPercent: amount, aggression: amount })),
  limits: optional(limits),
  outliers: optional(outliers),
  tls: optional(tls),
  proxyProtocol: optional(v.picklist(['V1', 'V2'])),
  retryBudget: optional(v.object({ percent: amount, minRetryConcurrency: count })),
});

export const destinationPolicy = exactly<DestinationPolicy>()(
  v.object({
    kind: v.literal('destination-policy'),
    name: text,
    service: text,
    settings,
    ports: v.array(v.object({ port, settings })),
    subsets: v.array(
      v.object({
        name: text,
        settings: optional(settings),
        ports: optional(v.array(v.object({ port, settings }))),
      }),
    ),
  }),
);

export const subsetMembers = exactly<SubsetMembers>()(
  v.object({
    kind: v.literal('subset-members'),
    name: text,
    service: text,
    subset: text,
    workloads: texts,
  }),
);

// Shapes of what is attached to services and waypoints: authorization, tokens, telemetry, limits, extensions.
import * as v from 'valibot';
import {
  extensionPhases,
  type Extension,
  type HttpPolicy,
  type RequestAuthentication,
  type Telemetry,
  type TrafficPolicy,
} from '#/model/index.ts';
import {
  amount,
  attached,
  cidr,
  count,
  exactly,
  flag,
  integer,
  optional,
  port,
  providerAddress,
  statusCode,
  text,
  texts,
} from './parts.ts';
import { httpMatch } from './routes.ts';

const stringMatch = v.variant('kind', [
  v.object({ kind: v.picklist(['exact', 'prefix', 'suffix']), value: text }),
  v.object({ kind: v.literal('presence') }),
]);
const pathMatch = v.variant('kind', [
  ...stringMatch.options,
  v.object({ kind: v.literal('template'), value: text }),
]);
const account = v.object({ namespace: text, serviceAccount: text });

const either = <T extends v.GenericSchema>(item: T) =>
  optional(v.object({ values: v.array(item), notValues: v.array(item) }));

const policyRule = v.object({
  from: v.array(
    v.object({
      principals: either(stringMatch),
      requestPrincipals: either(stringMatch),
      namespaces: either(stringMatch),
      serviceAccounts: either(account),
      trustDomains: either(stringMatch),
      ipBlocks: either(cidr),
      remoteIpBlocks: either(cidr),
    }),
  ),
  to: v.array(
    v.object({
      hosts: either(stringMatch),
      ports: either(port),
      methods: either(stringMatch),
      paths: either(pathMatch),
    }),
  ),
  when: v.array(v.object({ key: text, values: texts, notValues: texts })),
});

export const httpPolicy = exactly<HttpPolicy>()(
  v.object({
    kind: v.literal('http-policy'),
    name: text,
    ...attached,
    action: v.picklist(['Allow', 'Deny', 'Audit', 'Custom']),
    provider: optional(text),
    rules: v.array(policyRule),
    dryRun: flag,
  }),
);

export const requestAuthentication = exactly<RequestAuthentication>()(
  v.object({
    kind: v.literal('request-authentication'),
    name: text,
    ...attached,
    rules: v.array(
      v.object({
        issuer: text,
        audiences: texts,
        jwks: optional(text),
        jwksUri: optional(text),
        from: v.object({
          headers: v.array(v.object({ name: text, prefix: text })),
          params: texts,
          cookies: texts,
        }),
        outputPayloadToHeader: optional(text),
        outputClaimToHeaders: v.array(v.object({ header: text, claim: text })),
        forwardOriginalToken: flag,
        timeoutMs: amount,
        spaceDelimitedClaims: texts,
      }),
    ),
  }),
);

const mode = v.picklist(['CLIENT_AND_SERVER', 'CLIENT', 'SERVER']);

const customTag = v.variant('kind', [
  v.object({ tag: text, kind: v.literal('literal'), value: text }),
  v.object({ tag: text, kind: v.picklist(['environment', 'header']), name: text, fallback: optional(text) }),
  v.object({ tag: text, kind: v.literal('formatter'), format: text }),
]);

export const telemetry = exactly<Telemetry>()(
  v.object({
    kind: v.literal('telemetry'),
    name: text,
    ...attached,
    accessLogs: v.array(
      v.object({ providers: texts, mode, filter: optional(text), disabled: optional(flag) }),
    ),
    metrics: v.array(
      v.object({
        providers: texts,
        overrides: v.array(
          v.object({
            metric: text,
            mode,
            disabled: optional(flag),
            tags: v.array(
              v.object({ tag: text, operation: v.picklist(['UPSERT', 'REMOVE']), value: optional(text) }),
            ),
          }),
        ),
        reportingIntervalMs: optional(amount),
      }),
    ),
    tracing: v.array(
      v.object({
        providers: texts,
        mode,
        samplingPercent: optional(v.pipe(amount, v.maxValue(100))),
        disableSpanReporting: optional(flag),
        disableContextPropagation: optional(flag),
        useRequestIdForSampling: optional(flag),
        istioTags: optional(flag),
        customTags: v.array(customTag),
      }),
    ),
  }),
);

const descriptor = v.variant('kind', [
  v.object({ kind: v.literal('generic-key'), key: text, value: text }),
  v.object({ kind: v.literal('request-header'), header: text, key: text, skipIfAbsent: flag }),
  v.object({ kind: v.literal('remote-address') }),
  v.object({ kind: v.literal('source-principal'), key: text }),
  v.object({ kind: v.picklist(['path', 'method']), key: text }),
]);

const processing = v.picklist(['NONE', 'BUFFERED', 'STREAMED']);

export const trafficPolicy = exactly<TrafficPolicy>()(
  v.object({
    kind: v.literal('traffic-policy'),
    name: text,
    ...attached,
    localRateLimits: v.array(
      v.object({
        maxTokens: count,
        tokensPerFill: count,
        intervalMs: amount,
        per: v.picklist(['waypoint', 'connection']),
        match: optional(httpMatch),
        status: statusCode,
      }),
    ),
    globalRateLimits: v.array(
      v.object({
        server: providerAddress,
        domain: text,
        descriptors: v.array(v.array(descriptor)),
        timeoutMs: amount,
        failOpen: flag,
        match: optional(httpMatch),
      }),
    ),
    externalProcessing: optional(
      v.object({
        server: providerAddress,
        timeoutMs: amount,
        failOpen: flag,
        requestHeaders: flag,
        responseHeaders: flag,
        requestBody: processing,
        responseBody: processing,
      }),
    ),
    maxRequestBodyBytes: optional(count),
    maxResponseBodyBytes: optional(count),
  }),
);

export const extension = exactly<Extension>()(
  v.object({
    kind: v.literal('extension'),
    name: text,
    ...attached,
    phase: v.picklist(extensionPhases),
    priority: integer,
    module: text,
    language: v.picklist(['typescript', 'javascript']),
    config: v.unknown(),
    onFailure: v.picklist(['refuse', 'skip']),
    timeoutMs: amount,
    memoryMb: count,
  }),
);

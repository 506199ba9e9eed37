// Shapes of the routes on the wire.
import * as v from 'valibot';
import type { HttpRoute, TcpRoute } from '#/model/index.ts';
import {
  amount,
  count,
  exactly,
  flag,
  fraction,
  headerValue,
  optional,
  port,
  statusCode,
  text,
  textMatch,
  texts,
} from './parts.ts';

const parent = v.variant('kind', [
  v.object({ kind: v.literal('service'), service: text, port: optional(port) }),
  v.object({ kind: v.literal('waypoint'), gateway: text, port: optional(port) }),
]);

const namedMatch = v.object({ name: text, match: textMatch });

export const httpMatch = v.object({
  path: optional(
    v.variant('kind', [...textMatch.options, v.object({ kind: v.literal('elements'), value: text })]),
  ),
  method: optional(textMatch),
  scheme: optional(textMatch),
  authority: optional(textMatch),
  headers: optional(v.array(namedMatch)),
  withoutHeaders: optional(v.array(namedMatch)),
  query: optional(v.array(namedMatch)),
  ignorePathCase: optional(flag),
  port: optional(port),
});

const headerChange = v.object({
  set: optional(v.array(headerValue)),
  add: optional(v.array(headerValue)),
  remove: optional(texts),
});

const destination = v.object({ service: text, port, subset: optional(text) });
const mirrors = v.array(v.object({ destination, fraction }));

const pathRewrite = v.variant('kind', [
  v.object({ kind: v.literal('full'), value: text }),
  v.object({ kind: v.literal('prefix'), value: text }),
  v.object({ kind: v.literal('regex'), pattern: text, substitution: text }),
]);

const rewrite = v.object({ authority: optional(text), path: optional(pathRewrite) });

const weighted = v.array(
  v.object({
    destination: optional(destination),
    broken: optional(text),
    weight: count,
    requestHeaders: optional(headerChange),
    responseHeaders: optional(headerChange),
    mirrors: optional(mirrors),
    rewrite: optional(rewrite),
  }),
);

export const retry = v.object({
  attempts: count,
  perTryTimeoutMs: optional(amount),
  on: texts,
  statuses: v.array(statusCode),
  headers: optional(v.array(namedMatch)),
  backoffMs: optional(amount),
  avoidPrevious: flag,
});

const action = v.variant('kind', [
  v.object({ kind: v.literal('forward'), destinations: weighted }),
  v.object({
    kind: v.literal('redirect'),
    redirect: v.object({
      status: v.picklist([301, 302, 303, 307, 308]),
      scheme: optional(text),
      hostname: optional(text),
      port: optional(port),
      path: optional(pathRewrite),
    }),
  }),
  v.object({
    kind: v.literal('respond'),
    response: v.object({
      status: statusCode,
      body: optional(text),
      headers: optional(v.array(headerValue)),
    }),
  }),
]);

const rule = v.object({
  name: optional(text),
  matches: v.array(httpMatch),
  action,
  requestHeaders: optional(headerChange),
  responseHeaders: optional(headerChange),
  rewrite: optional(rewrite),
  mirrors: optional(mirrors),
  cors: optional(
    v.object({
      origins: v.array(textMatch),
      methods: texts,
      headers: texts,
      expose: texts,
      maxAgeSeconds: optional(amount),
      credentials: optional(flag),
      forwardUnmatched: optional(flag),
    }),
  ),
  fault: optional(
    v.object({
      delay: optional(v.object({ fraction, ms: amount })),
      abort: optional(
        v.union([
          v.object({ fraction, httpStatus: statusCode }),
          v.object({ fraction, grpcStatus: v.pipe(count, v.maxValue(16)) }),
        ]),
      ),
    }),
  ),
  timeoutMs: optional(amount),
  retry: optional(retry),
});

const order = v.object({ createdAt: amount, namespace: text, name: text });

export const httpRoute = exactly<HttpRoute>()(
  v.object({
    kind: v.literal('http-route'),
    name: text,
    parents: v.array(parent),
    hostnames: texts,
    order,
    precedence: v.picklist(['specificity', 'listed']),
    protocol: v.picklist(['http', 'grpc']),
    rules: v.array(rule),
  }),
);

export const tcpRoute = exactly<TcpRoute>()(
  v.object({
    kind: v.literal('tcp-route'),
    name: text,
    parents: v.array(parent),
    sniHosts: texts,
    order,
    destinations: weighted,
  }),
);

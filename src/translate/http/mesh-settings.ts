// What MeshConfig says to waypoints: a provider per entry of extensionProviders, and one record of defaults.
import type { ExtAuthzCommon, Provider, ProviderAddress, Retry, WaypointMesh } from '#/model/index.ts';
import { integer, list, optionalText, record, text, texts, type Json } from '../read.ts';
import type { Lookup } from '../lookup.ts';
import type { Translation } from '../translation.ts';
import { allWaypoints } from './bindings.ts';
import { duration, headerValues, Notes, port } from './values.ts';
import { virtualRetry } from './virtual-actions.ts';
import { recordFor } from './waypoint-record.ts';

interface Context {
  readonly domain: string;
  readonly rootNamespace: string;
  readonly notes: Notes;
}

/** The mesh's settings are protobuf's JSON, where a number may be quoted; Istio's own examples quote ports. */
const numeric = (value: unknown): unknown =>
  typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value;

/** `[namespace/]host`; a short name is a Service of that namespace, or of the root namespace. */
function addressOf(
  provider: Json,
  field: string,
  { domain, rootNamespace, notes }: Context,
): ProviderAddress | undefined {
  const service = text(provider['service']).toLowerCase();
  const number = port(numeric(provider['port']));
  if (service === '' || number === undefined) return notes.add(field, 'has no service and port');
  const slash = service.indexOf('/');
  const host = service.slice(slash + 1);
  const namespace = slash < 0 ? rootNamespace : service.slice(0, slash);
  return { hostname: host.includes('.') ? host : `${host}.${namespace}.svc.${domain}`, port: number };
}

function authz(provider: Json, field: string, { notes }: Context): ExtAuthzCommon {
  const body = provider['includeRequestBodyInCheck'];
  const status = Number(text(provider['statusOnError']) || '403');
  return {
    // Upstream's default.
    timeoutMs: duration(provider['timeout'], `${field}.timeout`, notes) ?? 600_000,
    failOpen: provider['failOpen'] === true,
    statusOnError: Number.isInteger(status) && status >= 200 && status <= 599 ? status : 403,
    ...(body === undefined || body === null
      ? {}
      : {
          includeBody: {
            maxBytes: integer(numeric(record(body)['maxRequestBytes'])),
            allowPartial: record(body)['allowPartialMessage'] === true,
            packAsBytes: record(body)['packAsBytes'] === true,
          },
        }),
    clearRouteCache: provider['clearRouteCache'] === true,
  };
}

const lowered = (value: unknown): readonly string[] => texts(value).map((name) => name.toLowerCase());

function fileLog(name: string, provider: Json): Provider {
  const format = record(provider['logFormat']);
  const labels = record(format['labels']);
  const given = optionalText(format['text']);
  const pairs = Object.entries(labels).filter(
    (pair): pair is [string, string] => typeof pair[1] === 'string',
  );
  return {
    kind: 'provider',
    name,
    type: 'file-access-log',
    path: text(provider['path']) || '/dev/stdout',
    ...(given === undefined ? {} : { text: given }),
    ...(pairs.length === 0 ? {} : { labels: Object.fromEntries(pairs) }),
  };
}

function readProvider(value: Json, field: string, context: Context): Provider | undefined {
  const { notes } = context;
  const name = text(value['name']);
  if (name === '') return notes.add(`${field}.name`, 'is missing');
  const base = { kind: 'provider', name } as const;
  const [type] = Object.keys(value).filter((key) => key !== 'name');
  const provider = record(value[type ?? '']);
  const at = `${field}.${type ?? ''}`;
  switch (type) {
    case 'prometheus':
      return { ...base, type: 'prometheus' };
    case 'envoyFileAccessLog':
      return fileLog(name, provider);
    case 'envoyExtAuthzHttp': {
      const address = addressOf(provider, at, context);
      if (address === undefined) return undefined;
      const additional = Object.entries(record(provider['includeAdditionalHeadersInCheck']));
      return {
        ...base,
        type: 'ext-authz-http',
        address,
        ...authz(provider, at, context),
        pathPrefix: text(provider['pathPrefix']),
        includeRequestHeaders: [
          ...lowered(provider['includeRequestHeadersInCheck']),
          ...lowered(provider['includeHeadersInCheck']),
        ],
        additionalHeaders: headerValues(additional, `${at}.includeAdditionalHeadersInCheck`, notes),
        headersToUpstreamOnAllow: lowered(provider['headersToUpstreamOnAllow']),
        headersToDownstreamOnAllow: lowered(provider['headersToDownstreamOnAllow']),
        headersToDownstreamOnDeny: lowered(provider['headersToDownstreamOnDeny']),
      };
    }
    case 'envoyExtAuthzGrpc': {
      const address = addressOf(provider, at, context);
      return address && { ...base, type: 'ext-authz-grpc', address, ...authz(provider, at, context) };
    }
    case 'opentelemetry': {
      const address = addressOf(provider, at, context);
      if (address === undefined) return undefined;
      const http = provider['http'] === undefined ? undefined : record(provider['http']);
      const headers = list(http?.['headers']).map(
        (item) => [text(record(item)['name']), record(item)['value']] as const,
      );
      return {
        ...base,
        type: 'opentelemetry',
        address,
        ...(http === undefined ? {} : { httpPath: text(http['path']) || '/v1/traces' }),
        headers: headerValues(headers, `${at}.http.headers`, notes),
        maxTagLength: integer(provider['maxTagLength']) || 256,
      };
    }
    case 'zipkin': {
      const address = addressOf(provider, at, context);
      if (address === undefined) return undefined;
      return {
        ...base,
        type: 'zipkin',
        address,
        path: text(provider['path']) || '/api/v2/spans',
        w3c: provider['traceContextOption'] === 'USE_B3_WITH_W3C_PROPAGATION',
      };
    }
    default:
      return notes.add(field, `providers of type ${type ?? '(none)'} are not supported`);
  }
}

/** `pathNormalization.normalization`; DEFAULT is BASE. What is not known is the strictest, which hides no path. */
function pathNormalization(config: Json, notes: Notes): Pick<WaypointMesh, 'pathNormalization'> {
  const wanted = text(record(config['pathNormalization'])['normalization']);
  switch (wanted) {
    case '':
    case 'DEFAULT':
      return {};
    case 'NONE':
    case 'BASE':
    case 'MERGE_SLASHES':
    case 'DECODE_AND_MERGE_SLASHES':
      return { pathNormalization: wanted };
    default:
      notes.add('pathNormalization', `"${wanted}" is not known; DECODE_AND_MERGE_SLASHES is used`);
      return { pathNormalization: 'DECODE_AND_MERGE_SLASHES' };
  }
}

function meshRecord(config: Json, lookup: Lookup, notes: Notes): WaypointMesh {
  const { mesh } = lookup;
  const defaults = record(config['defaultProviders']);
  const retry: Retry | undefined = virtualRetry(
    config['defaultHttpRetryPolicy'],
    'defaultHttpRetryPolicy',
    notes,
  );
  return {
    kind: 'waypoint-mesh',
    name: 'mesh',
    trustDomain: mesh.trustDomain,
    trustDomainAliases: texts(config['trustDomainAliases']),
    rootNamespace: mesh.rootNamespace,
    meshId: text(record(config['defaultConfig'])['meshId']) || mesh.trustDomain,
    ...(retry === undefined ? {} : { defaultRetry: retry }),
    accessLogFile: text(config['accessLogFile']),
    accessLogFormat: text(config['accessLogFormat']),
    accessLogEncoding: config['accessLogEncoding'] === 'JSON' ? 'JSON' : 'TEXT',
    defaultProviders: {
      accessLogging: texts(defaults['accessLogging']),
      metrics: texts(defaults['metrics']),
      tracing: texts(defaults['tracing']),
    },
    connectTimeoutMs: duration(config['connectTimeout'], 'connectTimeout', notes) ?? 10_000,
    hboneIdleTimeoutMs: duration(config['hboneIdleTimeout'], 'hboneIdleTimeout', notes) ?? 3_600_000,
    ...pathNormalization(config, notes),
  };
}

/** For every waypoint. */
export function translateMeshSettings(lookup: Lookup): Pick<Translation, 'waypoint' | 'problems'> {
  const { mesh } = lookup;
  const config = mesh.meshConfig ?? {};
  const notes = new Notes();
  const gateways = allWaypoints(lookup);
  const context = { domain: mesh.clusterDomain, rootNamespace: mesh.rootNamespace, notes };
  const seen = new Set<string>();
  const providers = list(config['extensionProviders']).flatMap((item, i) => {
    const provider = readProvider(record(item), `extensionProviders[${i}]`, context);
    if (provider === undefined || seen.has(provider.name)) return [];
    seen.add(provider.name);
    return recordFor(gateways, () => provider);
  });
  return {
    waypoint: [...recordFor(gateways, () => meshRecord(config, lookup, notes)), ...providers],
    problems: notes.problems,
  };
}

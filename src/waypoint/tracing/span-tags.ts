// The tags of a span: Envoy's of the request, Istio's of the peers, and the user's own.
import { formatSocketAddress } from '#/kit/index.ts';
import type { CustomTag, Workload } from '#/model/index.ts';
import {
  compileTextFormat,
  flagsText,
  grpcSnakeName,
  type EffectiveTracing,
  type HttpExchangeRecord,
  type LogSurroundings,
} from '#/telemetry/index.ts';

/** The waypoint itself, for the tags `istio.*`. */
export interface ProxyFacts {
  readonly canonicalService: string;
  readonly canonicalRevision: string;
  readonly namespace: string;
  readonly clusterId: string;
  readonly meshId: string;
}

export interface TagSettings {
  readonly tracing: Pick<EffectiveTracing, 'istioTags' | 'customTags'>;
  readonly proxy: ProxyFacts;
  /** Of `http.url`; other values from clients have a limit of their own. */
  readonly maxTagLength: number;
  readonly around?: LogSurroundings;
}

type Tags = Record<string, string>;
export type TagWriter = (record: HttpExchangeRecord, tags: Tags) => void;

const maxValue = 1024;

function put(tags: Tags, name: string, value: string | number | undefined, limit = maxValue): void {
  if (value !== undefined && value !== '') tags[name] = String(value).slice(0, limit);
}

const peerTags = (side: 'source' | 'destination') =>
  ({
    workload: `istio.${side}_workload`,
    namespace: `istio.${side}_namespace`,
    cluster: `istio.${side}_cluster_id`,
    service: `istio.${side}_canonical_service`,
    revision: `istio.${side}_canonical_revision`,
    app: `istio.${side}_app`,
    version: `istio.${side}_app_version`,
    type: `istio.${side}_workload_type`,
    instance: `istio.${side}_instance_name`,
  }) as const;
const names = { source: peerTags('source'), destination: peerTags('destination') };

function addPeer(tags: Tags, side: 'source' | 'destination', workload: Workload | undefined): void {
  if (workload === undefined) return;
  const tag = names[side];
  put(tags, tag.workload, workload.workloadName);
  put(tags, tag.namespace, workload.namespace);
  put(tags, tag.cluster, workload.clusterId);
  put(tags, tag.service, workload.canonicalName);
  put(tags, tag.revision, workload.canonicalRevision);
  put(tags, tag.app, workload.canonicalName);
  put(tags, tag.version, workload.canonicalRevision);
  put(tags, tag.type, workload.workloadType);
  put(tags, tag.instance, workload.name);
}

/** Envoy counts answers of 5xx, and none at all, as errors; and what gRPC says. */
export const isError = ({ responseCode, grpc, grpcStatus }: HttpExchangeRecord): boolean =>
  responseCode === 0 || responseCode >= 500 || (grpc && grpcStatus !== undefined && grpcStatus !== 0);

function addRequest(tags: Tags, record: HttpExchangeRecord, maxTagLength: number): void {
  const { requestHeaders, upstreamHost, downstreamRemoteAddress: remote } = record;
  const path = record.originalPath ?? record.path;
  tags['component'] = 'proxy';
  put(tags, 'guid:x-request-id', record.requestId);
  put(tags, 'http.url', `${record.scheme}://${record.authority}${path.slice(0, maxTagLength)}`, 65_536);
  put(tags, 'http.method', record.method);
  put(tags, 'http.protocol', record.protocol);
  put(tags, 'http.status_code', record.responseCode);
  put(tags, 'user_agent', requestHeaders?.get('user-agent'));
  put(tags, 'downstream_cluster', requestHeaders?.get('x-envoy-downstream-service-cluster') ?? '-');
  put(tags, 'peer.address', remote.ip);
  put(tags, 'request_size', record.bytesReceived);
  put(tags, 'response_size', record.bytesSent);
  put(tags, 'response_flags', flagsText(record.flags));
  put(tags, 'upstream_cluster', record.upstreamCluster);
  put(tags, 'upstream_cluster.name', record.upstreamCluster);
  put(tags, 'upstream_address', upstreamHost && formatSocketAddress(upstreamHost.ip, upstreamHost.port));
  if (record.grpc) {
    put(tags, 'grpc.path', path.split('?', 1)[0]);
    put(tags, 'grpc.authority', record.authority);
    put(tags, 'grpc.content_type', requestHeaders?.get('content-type'));
    put(tags, 'grpc.timeout', requestHeaders?.get('grpc-timeout'));
    if (record.grpcStatus !== undefined) put(tags, 'grpc.status_code', grpcSnakeName(record.grpcStatus));
    put(tags, 'grpc.message', record.trailers?.get('grpc-message'));
  }
  if (isError(record)) tags['error'] = 'true';
}

function customTag(custom: CustomTag, around: LogSurroundings, problems: string[]): TagWriter {
  const { tag } = custom;
  switch (custom.kind) {
    case 'literal':
      return (_, tags) => put(tags, tag, custom.value);
    case 'environment': {
      const value = around.environment?.[custom.name] ?? custom.fallback;
      return (_, tags) => put(tags, tag, value);
    }
    case 'header': {
      const name = custom.name.toLowerCase();
      return ({ requestHeaders }, tags) => put(tags, tag, requestHeaders?.get(name) ?? custom.fallback);
    }
    case 'formatter': {
      const format = compileTextFormat(custom.format, around);
      problems.push(...format.problems.map((problem) => `tag "${tag}": ${problem}`));
      return (record, tags) => put(tags, tag, format.line(record));
    }
  }
}

/** Compiled once per change of configuration. */
export function compileTags({ tracing, proxy, maxTagLength, around = {} }: TagSettings): {
  readonly tagsOf: (record: HttpExchangeRecord) => Readonly<Record<string, string>>;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const custom = tracing.customTags.map((tag) => customTag(tag, around, problems));
  const own: Tags = {};
  if (tracing.istioTags) {
    put(own, 'istio.canonical_service', proxy.canonicalService);
    put(own, 'istio.canonical_revision', proxy.canonicalRevision);
    put(own, 'istio.mesh_id', proxy.meshId);
    put(own, 'istio.namespace', proxy.namespace);
    put(own, 'istio.cluster_id', proxy.clusterId);
  }
  const tagsOf = (record: HttpExchangeRecord): Tags => {
    const tags: Tags = { ...own };
    addRequest(tags, record, maxTagLength);
    if (tracing.istioTags) {
      addPeer(tags, 'source', record.source);
      addPeer(tags, 'destination', record.destination);
    }
    for (const write of custom) write(record, tags);
    return tags;
  };
  return { tagsOf, problems };
}

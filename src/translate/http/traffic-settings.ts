// trafficPolicy of a DestinationRule → settings of traffic.
import type {
  Balancing,
  ConnectionLimits,
  HashBy,
  LocalityBalancing,
  OriginationTls,
  OutlierDetection,
  TrafficSettings,
} from '#/model/index.ts';
import { list, optionalText, record, text, texts, type Json } from '../read.ts';
import { defined, duration, ignored, wholeNumber, type Notes } from './values.ts';

export type ReadTls = (value: Json, field: string) => OriginationTls | undefined;

const simple: Readonly<Record<string, 'least-request' | 'random' | 'round-robin' | 'passthrough'>> = {
  LEAST_REQUEST: 'least-request',
  LEAST_CONN: 'least-request',
  RANDOM: 'random',
  ROUND_ROBIN: 'round-robin',
  PASSTHROUGH: 'passthrough',
};

function hashBy(hash: Json, field: string, notes: Notes): HashBy['by'] | undefined {
  const header = text(hash['httpHeaderName']);
  if (header !== '') return { kind: 'header', name: header.toLowerCase() };
  const query = text(hash['httpQueryParameterName']);
  if (query !== '') return { kind: 'query', name: query };
  if (hash['useSourceIp'] === true) return { kind: 'source-ip' };
  if (hash['httpCookie'] === undefined)
    return notes.add(field, 'says neither header, cookie, query parameter nor source address');
  const cookie = record(hash['httpCookie']);
  const path = text(cookie['path']);
  const ttl = duration(cookie['ttl'], `${field}.httpCookie.ttl`, notes);
  const attributes = list(cookie['attributes']).map((item) => {
    const value = optionalText(record(item)['value']);
    return { name: text(record(item)['name']), ...(value === undefined ? {} : { value }) };
  });
  return {
    kind: 'cookie',
    name: text(cookie['name']),
    ...(path === '' ? {} : { path }),
    ...(ttl === undefined ? {} : { ttlSeconds: ttl / 1000 }),
    ...(attributes.length === 0 ? {} : { attributes }),
  };
}

function balancing(value: Json, field: string, notes: Notes): Balancing | undefined {
  if (value['consistentHash'] !== undefined) {
    const hash = record(value['consistentHash']);
    const by = hashBy(hash, `${field}.consistentHash`, notes);
    if (by === undefined) return undefined;
    const maglev = hash['maglev'] !== undefined;
    const size = maglev ? record(hash['maglev'])['tableSize'] : record(hash['ringHash'])['minimumRingSize'];
    return {
      kind: 'hash',
      ring: maglev ? 'maglev' : 'ring-hash',
      minimumRingSize:
        wholeNumber(size ?? hash['minimumRingSize'], `${field}.consistentHash`, notes) ??
        (maglev ? 65537 : 1024),
      by,
    };
  }
  const name = optionalText(value['simple']);
  if (name === undefined || name === 'UNSPECIFIED') return undefined;
  const kind = simple[name];
  return kind === undefined ? notes.add(`${field}.simple`, 'is not known') : { kind };
}

function locality(value: unknown): LocalityBalancing | undefined {
  if (value === undefined || value === null) return undefined;
  const setting = record(value);
  const distribute = list(setting['distribute']).map((item) => ({
    from: text(record(item)['from']),
    to: Object.entries(record(record(item)['to']))
      .filter((pair): pair is [string, number] => typeof pair[1] === 'number')
      .map(([where, weight]) => ({ locality: where, weight })),
  }));
  const failover = list(setting['failover']).map((item) => ({
    from: text(record(item)['from']),
    to: text(record(item)['to']),
  }));
  const priority = texts(setting['failoverPriority']);
  return {
    enabled: setting['enabled'] !== false,
    ...(distribute.length === 0 ? {} : { distribute }),
    ...(failover.length === 0 ? {} : { failover }),
    ...(priority.length === 0 ? {} : { failoverPriority: priority }),
  };
}

function limits(value: unknown, field: string, notes: Notes): ConnectionLimits | undefined {
  const pool = record(value);
  const tcp = record(pool['tcp']);
  const http = record(pool['http']);
  const tcpCount = (name: string) => wholeNumber(tcp[name], `${field}.tcp.${name}`, notes);
  const tcpTime = (name: string) => duration(tcp[name], `${field}.tcp.${name}`, notes);
  /** 0 is Istio's "not set". */
  const count = (name: string) => wholeNumber(http[name], `${field}.http.${name}`, notes) || undefined;
  const keepalive = tcp['tcpKeepalive'] === undefined ? undefined : record(tcp['tcpKeepalive']);
  const ping = http['http2KeepAlive'] === undefined ? undefined : record(http['http2KeepAlive']);
  const upgrade = (['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'] as const).find(
    (one) => one === http['h2UpgradePolicy'],
  );
  const pingInterval = duration(ping?.['interval'], `${field}.http.http2KeepAlive.interval`, notes);
  const out = defined({
    maxConnections: tcpCount('maxConnections') || undefined,
    connectTimeoutMs: tcpTime('connectTimeout'),
    tcpKeepalive:
      keepalive === undefined
        ? undefined
        : defined({
            probes: wholeNumber(keepalive['probes'], `${field}.tcp.tcpKeepalive.probes`, notes),
            timeMs: duration(keepalive['time'], `${field}.tcp.tcpKeepalive.time`, notes),
            intervalMs: duration(keepalive['interval'], `${field}.tcp.tcpKeepalive.interval`, notes),
          }),
    maxConnectionDurationMs: tcpTime('maxConnectionDuration'),
    tcpIdleTimeoutMs: tcpTime('idleTimeout'),
    maxPendingRequests: count('http1MaxPendingRequests'),
    maxRequests: count('http2MaxRequests'),
    maxRequestsPerConnection: count('maxRequestsPerConnection'),
    maxRetries: count('maxRetries'),
    idleTimeoutMs: duration(http['idleTimeout'], `${field}.http.idleTimeout`, notes),
    upgradeToHttp2: upgrade === 'DEFAULT' ? undefined : upgrade,
    useClientProtocol: http['useClientProtocol'] === true ? true : undefined,
    maxConcurrentStreams: count('maxConcurrentStreams'),
    http2Keepalive:
      pingInterval === undefined
        ? undefined
        : {
            intervalMs: pingInterval,
            timeoutMs: duration(ping?.['timeout'], `${field}.http.http2KeepAlive.timeout`, notes) ?? 20_000,
          },
  });
  return Object.keys(out).length === 0 ? undefined : out;
}

function outliers(value: unknown, field: string, notes: Notes): OutlierDetection | undefined {
  if (value === undefined || value === null) return undefined;
  const detection = record(value);
  const count = (name: string) => wholeNumber(detection[name], `${field}.${name}`, notes);
  const gateway = count('consecutiveGatewayErrors');
  const codes = list(detection['outlierDetectionHttpErrorCodes']).filter((code) => typeof code === 'number');
  return {
    // Upstream's default is 5 where nothing is said, also of gateway errors.
    ...defined({
      consecutive5xx: count('consecutive5xxErrors') ?? 5,
      consecutiveGatewayErrors: gateway,
      splitLocalOriginErrors: detection['splitExternalLocalOriginErrors'] === true ? true : undefined,
      consecutiveLocalOriginFailures: count('consecutiveLocalOriginFailures'),
    }),
    ...(codes.length === 0 ? {} : { errorCodes: codes }),
    intervalMs: duration(detection['interval'], `${field}.interval`, notes) ?? 10_000,
    baseEjectionMs: duration(detection['baseEjectionTime'], `${field}.baseEjectionTime`, notes) ?? 30_000,
    maxEjectionPercent: Math.min(100, count('maxEjectionPercent') || 10),
    minHealthPercent: Math.min(100, count('minHealthPercent') ?? 0),
  };
}

function warmup(balancer: Json, field: string, notes: Notes): TrafficSettings['warmup'] | undefined {
  const older = duration(balancer['warmupDurationSecs'], `${field}.warmupDurationSecs`, notes);
  const given = record(balancer['warmup']);
  const ms = duration(given['duration'], `${field}.warmup.duration`, notes) ?? older;
  if (ms === undefined) return undefined;
  const number = (name: string, absent: number): number => {
    const set = given[name];
    return typeof set === 'number' && set >= 0 ? set : absent;
  };
  return {
    durationMs: ms,
    minimumPercent: number('minimumPercent', 10),
    aggression: number('aggression', 1),
  };
}

/** Undefined if the policy says nothing. */
export function trafficSettings(
  value: unknown,
  field: string,
  notes: Notes,
  tls: ReadTls,
): TrafficSettings | undefined {
  if (value === undefined || value === null) return undefined;
  const policy = record(value);
  const balancer = record(policy['loadBalancer']);
  const at = `${field}.loadBalancer`;
  ignored(policy, { tunnel: 'is not supported at a waypoint' }, field, notes);
  ignored(balancer, { zoneAwareLbSetting: 'is not supported at a waypoint' }, at, notes);
  const proxy = (['V1', 'V2'] as const).find(
    (one) => one === (record(policy['proxyProtocol'])['version'] ?? 'V1'),
  );
  const budget = policy['retryBudget'] === undefined ? undefined : record(policy['retryBudget']);
  const percent = budget?.['percent'];
  const out: TrafficSettings = defined({
    balancing: balancing(balancer, at, notes),
    locality: locality(balancer['localityLbSetting']),
    warmup: warmup(balancer, at, notes),
    limits: limits(policy['connectionPool'], `${field}.connectionPool`, notes),
    outliers: outliers(policy['outlierDetection'], `${field}.outlierDetection`, notes),
    tls: policy['tls'] === undefined ? undefined : tls(record(policy['tls']), `${field}.tls`),
    proxyProtocol: policy['proxyProtocol'] === undefined ? undefined : proxy,
    retryBudget:
      budget === undefined
        ? undefined
        : {
            percent: typeof percent === 'number' && percent >= 0 ? percent : 20,
            minRetryConcurrency:
              wholeNumber(budget['minRetryConcurrency'], `${field}.retryBudget`, notes) ?? 3,
          },
  });
  return Object.keys(out).length === 0 ? undefined : out;
}

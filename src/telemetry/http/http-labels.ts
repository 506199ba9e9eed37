// Labels of a waypoint's metrics, as the text between the braces, values in Istio's order.
import { knownIdentity, type Workload } from '#/model/index.ts';
import { labelValue } from '../traffic-labels.ts';
import type { AnyRecord, TrafficRecord } from './exchange-record.ts';
import { requestLabelNames, tcpLabelNames } from './http-families.ts';
import type { MetricGroup } from './metric-plan.ts';
import { flagsText } from './response-flags.ts';

/** Who talks to whom: what a request's labels have in common with those of many others. */
export type Peers = Pick<
  TrafficRecord,
  'source' | 'destination' | 'service' | 'sourceIdentity' | 'destinationIdentity' | 'mutualTls'
>;

const from = (workload: Workload | undefined, principal: string | undefined): (string | undefined)[] => [
  workload?.workloadName,
  workload?.canonicalName,
  workload?.canonicalRevision,
  workload?.namespace,
  principal,
  workload?.canonicalName,
  workload?.canonicalRevision,
  workload?.clusterId,
];

/** All values up to request_protocol, escaped. */
export function peerValues({ source, destination, service, ...rest }: Peers): readonly string[] {
  const principal = rest.destinationIdentity ?? (destination && knownIdentity(destination));
  return [
    'waypoint',
    ...from(source, rest.sourceIdentity),
    destination?.workloadName,
    destination?.namespace,
    principal,
    destination?.canonicalName,
    destination?.canonicalRevision,
    service?.hostname,
    destination?.canonicalName,
    destination?.canonicalRevision,
    service?.name,
    service?.namespace,
    destination?.clusterId,
  ].map(labelValue);
}

/** gRPC's codes; a server can send any number, and a label must not have any value. */
export const grpcLabel = (status: number | undefined): string => {
  if (status === undefined) return '';
  return status >= 0 && status <= 16 ? String(status) : 'unknown';
};

/** `peers`: of peerValues. */
export function labelText(peers: readonly string[], record: AnyRecord, group: MetricGroup): string {
  const security = record.mutualTls ? 'mutual_tls' : 'none';
  const flags = flagsText(record.flags);
  const [names, values] =
    record.kind === 'http'
      ? [
          requestLabelNames,
          [
            ...peers,
            record.grpc ? 'grpc' : 'http',
            String(record.responseCode),
            record.grpc ? grpcLabel(record.grpcStatus) : '',
            flags,
            security,
          ],
        ]
      : [tcpLabelNames, [...peers, 'tcp', flags, security]];
  const set = new Map<string, string>();
  for (let i = 0; i < names.length; i++) set.set(names[i] as string, values[i] as string);
  for (const tag of group.removed) set.delete(tag);
  for (const { tag, value } of group.upserts) set.set(tag, labelValue(value(record)));
  let text = '';
  for (const [name, value] of set) text += `${text === '' ? '' : ','}${name}="${value}"`;
  return text;
}

const unknownLabels = (names: readonly string[]): string =>
  names.map((name) => `${name}="${name === 'reporter' ? 'waypoint' : 'unknown'}"`).join(',');

/** Of the series that takes what is beyond the limit. */
export const overflowLabels = {
  http: unknownLabels(requestLabelNames),
  tcp: unknownLabels(tcpLabelNames),
} as const;

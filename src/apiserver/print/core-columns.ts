// Columns of namespaces, nodes, services, configuration, accounts, events and volumes.
import { dig, digList, digNumber, digText, isObject, type Item } from '../json.ts';
import type { Column } from '../kinds/kind.ts';
import { formatAge } from './age.ts';
import { column, wide, name, age, text, none, map, count, containers, type Value } from './column-parts.ts';

function nodeStatus(item: Item): string {
  const ready = digList(item.status, 'conditions').find((entry) => digText(entry, 'type') === 'Ready');
  const parts = [
    ready === undefined ? 'Unknown' : digText(ready, 'status') === 'True' ? 'Ready' : 'NotReady',
  ];
  if (item.spec?.['unschedulable'] === true) parts.push('SchedulingDisabled');
  return parts.join(',');
}

function nodeRoles(item: Item): string {
  const prefix = 'node-role.kubernetes.io/';
  const roles = Object.entries(item.metadata.labels ?? {}).flatMap(([key, value]) =>
    key.startsWith(prefix) ? [key.slice(prefix.length)] : key === 'kubernetes.io/role' ? [value] : [],
  );
  return none(
    roles
      .filter((role) => role !== '')
      .sort()
      .join(','),
  );
}

const nodeAddress =
  (type: string): Value =>
  (item) =>
    none(
      digText(
        digList(item.status, 'addresses').find((entry) => digText(entry, 'type') === type),
        'address',
      ),
    );

function externalIp(item: Item): string {
  const ingress = digList(item.status, 'loadBalancer', 'ingress').map(
    (entry) => digText(entry, 'ip') || digText(entry, 'hostname'),
  );
  const external = digList(item.spec, 'externalIPs').map(String);
  switch (item.spec?.['type']) {
    case 'ExternalName':
      return digText(item.spec, 'externalName');
    case 'LoadBalancer':
      return [...ingress, ...external].join(',') || '<pending>';
    default:
      return none(external.join(','));
  }
}

const servicePorts = (item: Item): string =>
  none(
    containers(item, 'spec', 'ports')
      .map(
        (port) =>
          `${port['port'] as number}${port['nodePort'] === undefined ? '' : `:${port['nodePort'] as number}`}/${digText(port, 'protocol')}`,
      )
      .join(','),
  );

function sliceEndpoints(item: Item): string {
  const addresses = containers(item, 'endpoints').flatMap((endpoint) =>
    digList(endpoint, 'addresses').map(String),
  );
  return addresses.length === 0 ? '<unset>' : abridge(addresses);
}

const abridge = (list: readonly string[]): string =>
  list.length > 3 ? `${list.slice(0, 3).join(',')} + ${list.length - 3} more...` : list.join(',');

function slicePorts(item: Item): string {
  const ports = containers(item, 'ports').map((port) => String(port['port'] ?? '*'));
  return ports.length === 0 ? '<unset>' : abridge(ports);
}

function endpointsOf(item: Item): string {
  const all = containers(item, 'subsets').flatMap((subset) => {
    const ports = containers(subset as unknown as Item, 'ports');
    return containers(subset as unknown as Item, 'addresses').flatMap((address) =>
      ports.length === 0
        ? [digText(address, 'ip')]
        : ports.map((port) => `${digText(address, 'ip')}:${port['port'] as number}`),
    );
  });
  return none(abridge(all));
}

const eventObject = (item: Item): string => {
  const kind = digText(item, 'involvedObject', 'kind').toLowerCase();
  return `${kind}/${digText(item, 'involvedObject', 'name')}`;
};

function eventLastSeen(item: Item, now: number): string {
  const last =
    digText(item, 'lastTimestamp') ||
    digText(item, 'series', 'lastObservedTime') ||
    digText(item, 'eventTime');
  const first = digText(item, 'firstTimestamp') || digText(item, 'eventTime');
  const times = digNumber(item, 'count') || digNumber(item, 'series', 'count');
  return times > 1
    ? `${formatAge(last || first, now)} (x${times} over ${formatAge(first, now)})`
    : formatAge(last || first, now);
}

function accessModes(...path: string[]): Value {
  const short: Readonly<Record<string, string>> = {
    ReadWriteOnce: 'RWO',
    ReadOnlyMany: 'ROX',
    ReadWriteMany: 'RWX',
    ReadWriteOncePod: 'RWOP',
  };
  return (item) =>
    digList(item, ...path)
      .map((mode) => short[String(mode)] ?? String(mode))
      .join(',');
}

export const coreColumns: Readonly<Record<string, readonly Column[]>> = {
  namespaces: [name, column('Status', text('status', 'phase')), age],
  nodes: [
    name,
    column('Status', nodeStatus),
    column('Roles', nodeRoles),
    age,
    column('Version', text('status', 'nodeInfo', 'kubeletVersion')),
    wide('Internal-IP', nodeAddress('InternalIP')),
    wide('External-IP', nodeAddress('ExternalIP')),
    wide('OS-Image', (item) => digText(item, 'status', 'nodeInfo', 'osImage') || '<unknown>'),
    wide('Kernel-Version', (item) => digText(item, 'status', 'nodeInfo', 'kernelVersion') || '<unknown>'),
    wide(
      'Container-Runtime',
      (item) => digText(item, 'status', 'nodeInfo', 'containerRuntimeVersion') || '<unknown>',
    ),
  ],
  services: [
    name,
    column('Type', text('spec', 'type')),
    column('Cluster-IP', (item) => none(digText(item, 'spec', 'clusterIP'))),
    column('External-IP', externalIp),
    column('Port(s)', servicePorts),
    age,
    wide('Selector', map('spec', 'selector')),
  ],
  endpoints: [name, column('Endpoints', endpointsOf), age],
  'endpointslices.discovery.k8s.io': [
    name,
    column('AddressType', text('addressType')),
    column('Ports', slicePorts),
    column('Endpoints', sliceEndpoints),
    age,
  ],
  configmaps: [
    name,
    column(
      'Data',
      (item) => Number(count('data')(item, 0)) + Number(count('binaryData')(item, 0)),
      0,
      'string',
    ),
    age,
  ],
  secrets: [name, column('Type', text('type')), column('Data', count('data'), 0, 'string'), age],
  serviceaccounts: [name, column('Secrets', count('secrets'), 0, 'string'), age],
  events: [
    column('Last Seen', eventLastSeen),
    column('Type', text('type')),
    column('Reason', text('reason')),
    column('Object', eventObject),
    wide('Subobject', text('involvedObject', 'fieldPath')),
    wide('Source', (item) =>
      [
        digText(item, 'source', 'component') || digText(item, 'reportingComponent'),
        digText(item, 'source', 'host'),
      ]
        .filter((part) => part !== '')
        .join(', '),
    ),
    column('Message', (item) => digText(item, 'message').trim()),
    wide('First Seen', (item, now) =>
      formatAge(digText(item, 'firstTimestamp') || digText(item, 'eventTime'), now),
    ),
    wide('Count', (item) => digNumber(item, 'count') || 1),
    { ...column('Name', (item) => item.metadata.name, 1), format: 'name' },
  ],
  'leases.coordination.k8s.io': [name, column('Holder', text('spec', 'holderIdentity')), age],
  persistentvolumes: [
    name,
    column('Capacity', text('spec', 'capacity', 'storage')),
    column('Access Modes', accessModes('spec', 'accessModes')),
    column('Reclaim Policy', text('spec', 'persistentVolumeReclaimPolicy')),
    column('Status', text('status', 'phase')),
    column('Claim', (item) => {
      const claim = dig(item.spec, 'claimRef');
      return isObject(claim) ? `${digText(claim, 'namespace')}/${digText(claim, 'name')}` : '';
    }),
    column('StorageClass', text('spec', 'storageClassName')),
    age,
  ],
  persistentvolumeclaims: [
    name,
    column('Status', text('status', 'phase')),
    column('Volume', text('spec', 'volumeName')),
    column('Capacity', text('status', 'capacity', 'storage')),
    column('Access Modes', accessModes('status', 'accessModes')),
    column('StorageClass', text('spec', 'storageClassName')),
    age,
  ],
};

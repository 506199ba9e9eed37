// The table columns of the built-in kinds, as `kubectl get` and `-o wide` show them.
import {
  dig,
  digList,
  digNumber,
  digText,
  isObject,
  type Item,
  type Json,
  type JsonObject,
} from '../json.ts';
import type { Column } from '../kinds/kind.ts';
import { formatSelector, parseSelectorObject } from '../store/selectors.ts';
import { formatAge, formatDuration } from './age.ts';
import { podColumns } from './pod-columns.ts';

type Cell = string | number | boolean | null;
type Value = (item: Item, now: number) => Cell;

const column = (name: string, value: Value, priority = 0, type = 'string'): Column => ({
  name,
  type: name === 'Age' ? 'string' : type,
  ...(name === 'Name' ? { format: 'name' } : {}),
  ...(priority === 0 ? {} : { priority }),
  value,
});
const wide = (name: string, value: Value): Column => column(name, value, 1);

const name = column('Name', (item) => item.metadata.name);
const age = column('Age', (item, now) => formatAge(item.metadata.creationTimestamp, now));
const text =
  (...path: string[]): Value =>
  (item) =>
    digText(item, ...path);
const number =
  (...path: string[]): Value =>
  (item) =>
    digNumber(item, ...path);
const none = (value: string): string => (value === '' ? '<none>' : value);
const selector =
  (...path: string[]): Value =>
  (item) =>
    none(formatSelector(parseSelectorObject(dig(item, ...path))));
const map =
  (...path: string[]): Value =>
  (item) => {
    const found = dig(item, ...path);
    return isObject(found)
      ? none(
          Object.entries(found)
            .map(([key, value]) => `${key}=${String(value)}`)
            .sort()
            .join(','),
        )
      : '<none>';
  };
const count =
  (...path: string[]): Value =>
  (item) => {
    const found = dig(item, ...path);
    return Array.isArray(found) ? found.length : isObject(found) ? Object.keys(found).length : 0;
  };

const containers = (item: Item, ...path: string[]): JsonObject[] => digList(item, ...path).filter(isObject);
const containerNames =
  (...path: string[]): Value =>
  (item) =>
    containers(item, ...path)
      .map((container) => digText(container, 'name'))
      .join(',');
const containerImages =
  (...path: string[]): Value =>
  (item) =>
    containers(item, ...path)
      .map((container) => digText(container, 'image'))
      .join(',');
const template = ['spec', 'template', 'spec', 'containers'];
const templateColumns = [
  wide('Containers', containerNames(...template)),
  wide('Images', containerImages(...template)),
  wide('Selector', selector('spec', 'selector')),
];

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

function jobDuration(item: Item, now: number): string {
  const start = digText(item, 'status', 'startTime');
  if (start === '') return '';
  const end = digText(item, 'status', 'completionTime');
  return formatDuration((end === '' ? now : Date.parse(end)) - Date.parse(start));
}

function jobStatus(item: Item): string {
  for (const type of ['Complete', 'Failed', 'Suspended'])
    if (
      digList(item.status, 'conditions').some(
        (entry) => digText(entry, 'type') === type && digText(entry, 'status') === 'True',
      )
    )
      return type;
  return item.metadata.deletionTimestamp === undefined ? 'Running' : 'Terminating';
}

const jobCompletions = (item: Item): string =>
  `${digNumber(item, 'status', 'succeeded')}/${item.spec?.['completions'] === undefined ? `1 of ${digNumber(item, 'spec', 'parallelism')}` : String(item.spec['completions'])}`;

function csrCondition(item: Item): string {
  const types = digList(item.status, 'conditions').map((entry) => digText(entry, 'type'));
  const words = types.includes('Denied')
    ? ['Denied']
    : types.includes('Approved')
      ? ['Approved']
      : ['Pending'];
  if (types.includes('Failed')) words.push('Failed');
  if (digText(item.status, 'certificate') !== '') words.push('Issued');
  return words.join(',');
}

const ingressHosts = (item: Item): string =>
  none(
    containers(item, 'spec', 'rules')
      .map((rule) => digText(rule, 'host') || '*')
      .join(','),
  ) === '<none>'
    ? '*'
    : containers(item, 'spec', 'rules')
        .map((rule) => digText(rule, 'host') || '*')
        .join(',');

const isDefaultClass = (item: Item): string =>
  item.metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true'
    ? `${item.metadata.name} (default)`
    : item.metadata.name;

const str = (value: Json | undefined): string => (value === undefined || value === null ? '' : String(value));

/** By collection name. Kinds that are not here show NAME and AGE. */
export const builtinColumns: Readonly<Record<string, readonly Column[]>> = {
  pods: podColumns,
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
  'deployments.apps': [
    name,
    column(
      'Ready',
      (item) => `${digNumber(item, 'status', 'readyReplicas')}/${digNumber(item, 'spec', 'replicas')}`,
    ),
    column('Up-to-date', number('status', 'updatedReplicas')),
    column('Available', number('status', 'availableReplicas')),
    age,
    ...templateColumns,
  ],
  'replicasets.apps': [
    name,
    column('Desired', number('spec', 'replicas')),
    column('Current', number('status', 'replicas')),
    column('Ready', number('status', 'readyReplicas')),
    age,
    ...templateColumns,
  ],
  replicationcontrollers: [
    name,
    column('Desired', number('spec', 'replicas')),
    column('Current', number('status', 'replicas')),
    column('Ready', number('status', 'readyReplicas')),
    age,
    wide('Containers', containerNames(...template)),
    wide('Images', containerImages(...template)),
    wide('Selector', map('spec', 'selector')),
  ],
  'daemonsets.apps': [
    name,
    column('Desired', number('status', 'desiredNumberScheduled')),
    column('Current', number('status', 'currentNumberScheduled')),
    column('Ready', number('status', 'numberReady')),
    column('Up-to-date', number('status', 'updatedNumberScheduled')),
    column('Available', number('status', 'numberAvailable')),
    column('Node Selector', map('spec', 'template', 'spec', 'nodeSelector')),
    age,
    ...templateColumns,
  ],
  'statefulsets.apps': [
    name,
    column(
      'Ready',
      (item) => `${digNumber(item, 'status', 'readyReplicas')}/${digNumber(item, 'spec', 'replicas')}`,
    ),
    age,
    wide('Containers', containerNames(...template)),
    wide('Images', containerImages(...template)),
  ],
  'controllerrevisions.apps': [
    name,
    column('Controller', (item) => {
      const owner = item.metadata.ownerReferences?.find((entry) => entry.controller === true);
      return owner === undefined
        ? '<none>'
        : `${owner.kind.toLowerCase()}.${owner.apiVersion.split('/')[0]}/${owner.name}`;
    }),
    column('Revision', number('revision')),
    age,
  ],
  'jobs.batch': [
    name,
    column('Status', jobStatus),
    column('Completions', jobCompletions),
    column('Duration', jobDuration),
    age,
    ...templateColumns,
  ],
  'cronjobs.batch': [
    name,
    column('Schedule', text('spec', 'schedule')),
    column('Timezone', (item) => none(digText(item, 'spec', 'timeZone'))),
    column('Suspend', (item) => (item.spec?.['suspend'] === true ? 'True' : 'False')),
    column('Active', count('status', 'active')),
    column('Last Schedule', (item, now) => {
      const last = digText(item, 'status', 'lastScheduleTime');
      return last === '' ? '<none>' : formatAge(last, now);
    }),
    age,
  ],
  'leases.coordination.k8s.io': [name, column('Holder', text('spec', 'holderIdentity')), age],
  'certificatesigningrequests.certificates.k8s.io': [
    name,
    age,
    column('SignerName', text('spec', 'signerName')),
    column('Requestor', text('spec', 'username')),
    column('RequestedDuration', (item) => {
      const seconds = digNumber(item, 'spec', 'expirationSeconds');
      return seconds === 0 ? '<none>' : formatDuration(seconds * 1000);
    }),
    column('Condition', csrCondition),
  ],
  'customresourcedefinitions.apiextensions.k8s.io': [
    name,
    column('Created At', (item) => item.metadata.creationTimestamp ?? ''),
  ],
  'apiservices.apiregistration.k8s.io': [
    name,
    column('Service', (item) => {
      const service = dig(item.spec, 'service');
      return isObject(service) ? `${digText(service, 'namespace')}/${digText(service, 'name')}` : 'Local';
    }),
    column(
      'Available',
      (item) =>
        digText(
          digList(item.status, 'conditions').find((entry) => digText(entry, 'type') === 'Available'),
          'status',
        ) || 'Unknown',
    ),
    age,
  ],
  'ingresses.networking.k8s.io': [
    name,
    column('Class', (item) => none(digText(item, 'spec', 'ingressClassName'))),
    column('Hosts', ingressHosts),
    column('Address', (item) =>
      digList(item.status, 'loadBalancer', 'ingress')
        .map((entry) => digText(entry, 'ip') || digText(entry, 'hostname'))
        .join(','),
    ),
    column('Ports', (item) => (digList(item.spec, 'tls').length > 0 ? '80, 443' : '80')),
    age,
  ],
  'ingressclasses.networking.k8s.io': [
    name,
    column('Controller', text('spec', 'controller')),
    column('Parameters', (item) => {
      const found = dig(item.spec, 'parameters');
      return isObject(found)
        ? `${digText(found, 'kind')}.${digText(found, 'apiGroup')}/${digText(found, 'name')}`
        : '<none>';
    }),
    age,
  ],
  'networkpolicies.networking.k8s.io': [name, column('Pod-Selector', selector('spec', 'podSelector')), age],
  'servicecidrs.networking.k8s.io': [
    name,
    column('CIDRs', (item) => digList(item.spec, 'cidrs').map(String).join(',')),
    age,
  ],
  'ipaddresses.networking.k8s.io': [
    name,
    column('ParentRef', (item) =>
      ['resource', 'namespace', 'name'].map((key) => digText(item.spec, 'parentRef', key)).join('/'),
    ),
    age,
  ],
  'roles.rbac.authorization.k8s.io': [
    name,
    column('Created At', (item) => item.metadata.creationTimestamp ?? ''),
  ],
  'clusterroles.rbac.authorization.k8s.io': [
    name,
    column('Created At', (item) => item.metadata.creationTimestamp ?? ''),
  ],
  'rolebindings.rbac.authorization.k8s.io': [
    name,
    column('Role', (item) => `${digText(item, 'roleRef', 'kind')}/${digText(item, 'roleRef', 'name')}`),
    age,
  ],
  'clusterrolebindings.rbac.authorization.k8s.io': [
    name,
    column('Role', (item) => `${digText(item, 'roleRef', 'kind')}/${digText(item, 'roleRef', 'name')}`),
    age,
  ],
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
  'storageclasses.storage.k8s.io': [
    column('Name', isDefaultClass),
    column('Provisioner', text('provisioner')),
    column('ReclaimPolicy', text('reclaimPolicy')),
    column('VolumeBindingMode', text('volumeBindingMode')),
    column('AllowVolumeExpansion', (item) => item['allowVolumeExpansion'] === true),
    age,
  ],
  'priorityclasses.scheduling.k8s.io': [
    name,
    column('Value', number('value')),
    column('Global-Default', (item) => item['globalDefault'] === true),
    age,
  ],
  'poddisruptionbudgets.policy': [
    name,
    column('Min Available', (item) => str(dig(item.spec, 'minAvailable')) || 'N/A'),
    column('Max Unavailable', (item) => str(dig(item.spec, 'maxUnavailable')) || 'N/A'),
    column('Allowed Disruptions', number('status', 'disruptionsAllowed')),
    age,
  ],
  'horizontalpodautoscalers.autoscaling': [
    name,
    column(
      'Reference',
      (item) =>
        `${digText(item, 'spec', 'scaleTargetRef', 'kind')}/${digText(item, 'spec', 'scaleTargetRef', 'name')}`,
    ),
    column('MinPods', (item) => str(dig(item.spec, 'minReplicas')) || '<unset>'),
    column('MaxPods', number('spec', 'maxReplicas')),
    column('Replicas', number('status', 'currentReplicas')),
    age,
  ],
  'mutatingwebhookconfigurations.admissionregistration.k8s.io': [
    name,
    column('Webhooks', count('webhooks')),
    age,
  ],
  'validatingwebhookconfigurations.admissionregistration.k8s.io': [
    name,
    column('Webhooks', count('webhooks')),
    age,
  ],
};

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

export const defaultColumns: readonly Column[] = [
  name,
  column('Created At', (item) => item.metadata.creationTimestamp ?? ''),
];

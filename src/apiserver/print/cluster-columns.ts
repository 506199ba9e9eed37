// Columns of the kinds by which a cluster is run: definitions, certificates, roles, networking, storage.
import { dig, digList, digNumber, digText, isObject, type Item } from '../json.ts';
import type { Column } from '../kinds/kind.ts';
import { formatDuration } from './age.ts';
import { column, name, age, text, number, none, selector, count, containers } from './column-parts.ts';

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

export const clusterColumns: Readonly<Record<string, readonly Column[]>> = {
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

// The objects that make the lab a cluster: the Service of its API, and its DNS; and what manifests are made of.
// Pure: the plan in, objects out.
import type { AddressPlan } from './address-plan.ts';
import { apiPort, clusterDomain } from './address-plan.ts';

/** An object as it goes to the API. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Fields that the lab sets are the lab's: a later `up` changes those and no others. */
export const labManager = 'aura-lab';

export const everywhere = [{ operator: 'Exists' }];
export const onControlPlane = { 'node-role.kubernetes.io/control-plane': '' };

export const field = (name: string, fieldPath: string): unknown => ({
  name,
  valueFrom: { fieldRef: { fieldPath } },
});

export const readyAt = (port: number, path: string): unknown => ({
  httpGet: { port, path },
  initialDelaySeconds: 0,
  periodSeconds: 5,
});

/** The Service by which pods find the API, with the node's own address behind it. */
export function apiServiceManifests(plan: AddressPlan): Manifest[] {
  const namespace = 'default';
  const labels = { component: 'apiserver', provider: 'kubernetes' };
  // As in a real cluster it is of the first family only.
  const [family] = plan.families;
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'kubernetes', namespace, labels },
      spec: {
        clusterIP: plan.apiServiceIps[0],
        clusterIPs: plan.apiServiceIps.slice(0, 1),
        ipFamilies: [family],
        ipFamilyPolicy: 'SingleStack',
        ports: [{ name: 'https', port: 443, targetPort: apiPort, protocol: 'TCP' }],
      },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'kubernetes', namespace, labels: { 'kubernetes.io/service-name': 'kubernetes' } },
      addressType: family,
      ports: [{ name: 'https', port: apiPort, protocol: 'TCP' }],
      endpoints: [{ addresses: plan.controlPlane.ips.slice(0, 1), conditions: { ready: true } }],
    },
  ];
}

/** CoreDNS' place and names; the program is ours. */
export function dnsManifests(plan: AddressPlan): Manifest[] {
  const labels = { 'k8s-app': 'kube-dns' };
  const namespace = 'kube-system';
  const dual = plan.families.length > 1;
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'coredns', namespace } },
    ...accountRole('coredns', namespace, [
      { apiGroups: [''], resources: ['services', 'namespaces'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
    ]),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'kube-dns', namespace, labels: { ...labels, 'kubernetes.io/name': 'CoreDNS' } },
      spec: {
        selector: labels,
        clusterIP: plan.dnsServiceIps[0],
        clusterIPs: plan.dnsServiceIps,
        ipFamilies: plan.families,
        ipFamilyPolicy: dual ? 'RequireDualStack' : 'SingleStack',
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
          { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
        ],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'coredns', namespace, labels },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: 'coredns',
            // On the node's own network: the node's programs ask it before any pod network is there.
            hostNetwork: true,
            dnsPolicy: 'Default',
            nodeSelector: onControlPlane,
            tolerations: everywhere,
            terminationGracePeriodSeconds: 5,
            containers: [
              {
                name: 'coredns',
                image: 'aura/aura',
                args: ['lab-dns', '--domain', clusterDomain, '--host', '$(POD_IPS)'],
                env: [field('POD_IPS', 'status.podIPs')],
                ports: [
                  { name: 'dns', containerPort: 53, protocol: 'UDP' },
                  { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
                ],
                readinessProbe: readyAt(8181, '/ready'),
                livenessProbe: { httpGet: { port: 8181, path: '/health' }, periodSeconds: 10 },
              },
            ],
          },
        },
      },
    },
  ];
}

/** A ClusterRole and its binding to an account of the same name. */
export function accountRole(account: string, namespace: string, rules: readonly unknown[]): Manifest[] {
  const name = `${namespace}-${account}`;
  const group = 'rbac.authorization.k8s.io';
  return [
    { apiVersion: `${group}/v1`, kind: 'ClusterRole', metadata: { name }, rules },
    {
      apiVersion: `${group}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: group, kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name: account, namespace }],
    },
  ];
}

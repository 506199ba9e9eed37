// The programs of the mesh, as a cluster's chart would install them: names, labels, ports, environment and volumes are
// those of Istio's charts. Pure: options in, objects out.
import { clusterDomain, type AddressPlan } from './address-plan.ts';
import type { MeshOptions } from './lab-config.ts';
import { accountRole, everywhere, field, onControlPlane, readyAt, type Manifest } from './manifests.ts';

export const meshNamespace = 'istio-system';

/** Where the control plane's programs look for each other when nothing else is said. */
export const controlPlaneAddress = `https://istiod.${meshNamespace}.svc:15012`;

const tokenVolume = {
  name: 'istio-token',
  projected: {
    sources: [
      { serviceAccountToken: { path: 'istio-token', audience: 'istio-ca', expirationSeconds: 43200 } },
    ],
  },
};

/** Everything of the mesh. `aura`: path of our command; `rootCa`: text of the PEM file given for a foreign plane. */
export function meshManifests(
  mesh: MeshOptions,
  plan: AddressPlan,
  aura: string,
  rootCa?: string,
): Manifest[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: meshNamespace } },
    ...controlPlaneManifests(plan),
    ...agentManifests(plan),
    ...ztunnelManifests(mesh, aura, rootCa),
  ];
}

function controlPlaneManifests(plan: AddressPlan): Manifest[] {
  const namespace = meshNamespace;
  const labels = { app: 'istiod', istio: 'pilot' };
  return [
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'istiod', namespace, labels: { app: 'istiod' } },
    },
    ...accountRole('istiod', namespace, [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }]),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'istiod', namespace, labels },
      spec: {
        selector: labels,
        ipFamilyPolicy: plan.families.length > 1 ? 'PreferDualStack' : 'SingleStack',
        ports: [
          { name: 'grpc-xds', port: 15010, targetPort: 15010, protocol: 'TCP' },
          { name: 'https-dns', port: 15012, targetPort: 15012, protocol: 'TCP' },
          { name: 'https-webhook', port: 443, targetPort: 15017, protocol: 'TCP' },
          { name: 'http-monitoring', port: 15014, targetPort: 15014, protocol: 'TCP' },
        ],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'istiod', namespace, labels },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          // istioctl looks for the control plane of a revision by this label.
          metadata: { labels: { ...labels, 'istio.io/rev': 'default', 'istio.io/dataplane-mode': 'none' } },
          spec: {
            serviceAccountName: 'istiod',
            nodeSelector: onControlPlane,
            tolerations: everywhere,
            priorityClassName: 'system-cluster-critical',
            containers: [
              {
                name: 'discovery',
                image: 'aura/aura',
                args: ['control-plane'],
                env: [
                  field('POD_NAME', 'metadata.name'),
                  field('POD_NAMESPACE', 'metadata.namespace'),
                  field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
                  { name: 'CLUSTER_ID', value: 'Kubernetes' },
                  { name: 'CLUSTER_DOMAIN', value: clusterDomain },
                ],
                ports: [
                  { name: 'http-debug', containerPort: 8080 },
                  { name: 'grpc-xds', containerPort: 15010 },
                  { name: 'tls-xds', containerPort: 15012 },
                  { name: 'https-webhooks', containerPort: 15017 },
                  { name: 'http-monitoring', containerPort: 15014 },
                ],
                readinessProbe: readyAt(8080, '/ready'),
              },
            ],
          },
        },
      },
    },
  ];
}

function agentManifests(plan: AddressPlan): Manifest[] {
  const namespace = meshNamespace;
  const labels = { 'k8s-app': 'istio-cni-node' };
  // Below /run, which every container has to itself: a mount point can be made there without a trace.
  const host = '/var/run/host';
  const mounts = [
    { name: 'cni-bin-dir', mountPath: `${host}/opt/cni/bin` },
    { name: 'cni-net-dir', mountPath: `${host}/etc/cni/net.d` },
    { name: 'cni-run-dir', mountPath: '/var/run/istio-cni' },
    { name: 'cni-ztunnel-sock-dir', mountPath: '/var/run/ztunnel' },
  ];
  const hostPath = (name: string, path: string): unknown => ({
    name,
    hostPath: { path, type: 'DirectoryOrCreate' },
  });
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'istio-cni', namespace } },
    ...accountRole('istio-cni', namespace, [
      { apiGroups: [''], resources: ['pods', 'nodes', 'namespaces'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: [''], resources: ['pods', 'pods/status'], verbs: ['get', 'patch', 'update'] },
      { apiGroups: ['apps'], resources: ['daemonsets'], verbs: ['get'] },
      { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
      { apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] },
    ]),
    {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'istio-cni-node', namespace, labels },
      spec: {
        selector: { matchLabels: labels },
        updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } },
        template: {
          metadata: { labels: { ...labels, 'istio.io/dataplane-mode': 'none' } },
          spec: {
            serviceAccountName: 'istio-cni',
            hostNetwork: true,
            dnsPolicy: 'ClusterFirstWithHostNet',
            tolerations: everywhere,
            priorityClassName: 'system-node-critical',
            terminationGracePeriodSeconds: 5,
            containers: [
              {
                name: 'install-cni',
                image: 'aura/aura',
                args: ['cni-agent'],
                env: [
                  field('NODE_NAME', 'spec.nodeName'),
                  field('POD_NAME', 'metadata.name'),
                  field('POD_NAMESPACE', 'metadata.namespace'),
                  { name: 'MOUNTED_CNI_NET_DIR', value: `${host}/etc/cni/net.d` },
                  { name: 'CNI_BIN_TARGET_DIR', value: `${host}/opt/cni/bin` },
                  { name: 'AMBIENT_IPV4', value: String(plan.families.includes('IPv4')) },
                  { name: 'AMBIENT_IPV6', value: 'true' },
                ],
                ports: [{ name: 'metrics', containerPort: 15014 }],
                readinessProbe: readyAt(8000, '/readyz'),
                volumeMounts: mounts,
              },
            ],
            volumes: [
              hostPath('cni-bin-dir', '/opt/cni/bin'),
              hostPath('cni-net-dir', '/etc/cni/net.d'),
              hostPath('cni-run-dir', '/var/run/istio-cni'),
              hostPath('cni-ztunnel-sock-dir', '/var/run/ztunnel'),
            ],
          },
        },
      },
    },
  ];
}

function ztunnelManifests(mesh: MeshOptions, aura: string, rootCa: string | undefined): Manifest[] {
  const namespace = meshNamespace;
  const labels = { app: 'ztunnel' };
  const rootFile =
    rootCa === undefined
      ? '/var/run/secrets/istio/root-cert.pem'
      : '/var/run/secrets/istio-foreign/root-cert.pem';
  const env: unknown[] = [
    { name: 'XDS_ADDRESS', value: mesh.xdsAddress ?? controlPlaneAddress },
    { name: 'CA_ADDRESS', value: mesh.caAddress ?? mesh.xdsAddress ?? controlPlaneAddress },
    { name: 'XDS_ROOT_CA', value: rootFile },
    { name: 'CA_ROOT_CA', value: rootFile },
    { name: 'AUTH_TOKEN', value: '/var/run/secrets/tokens/istio-token' },
    { name: 'RUST_LOG', value: 'info' },
    { name: 'RUST_BACKTRACE', value: '1' },
    { name: 'ISTIO_META_CLUSTER_ID', value: 'Kubernetes' },
    { name: 'CLUSTER_ID', value: 'Kubernetes' },
    { name: 'INPOD_ENABLED', value: 'true' },
    { name: 'INPOD_UDS', value: '/var/run/ztunnel/ztunnel.sock' },
    { name: 'TERMINATION_GRACE_PERIOD_SECONDS', value: '30' },
    { name: 'IPV6_ENABLED', value: 'true' },
    field('POD_NAME', 'metadata.name'),
    field('POD_NAMESPACE', 'metadata.namespace'),
    field('NODE_NAME', 'spec.nodeName'),
    field('INSTANCE_IP', 'status.podIP'),
    field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
  ];
  const foreign: Manifest[] =
    rootCa === undefined
      ? []
      : [
          {
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: { name: 'aura-lab-foreign-root', namespace },
            data: { 'root-cert.pem': rootCa },
          },
        ];
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'ztunnel', namespace, labels } },
    ...accountRole('ztunnel', namespace, [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }]),
    ...foreign,
    {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'ztunnel', namespace, labels },
      spec: {
        selector: { matchLabels: labels },
        updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } },
        template: {
          metadata: { labels: { ...labels, 'istio.io/dataplane-mode': 'none' } },
          spec: {
            serviceAccountName: 'ztunnel',
            hostNetwork: true,
            dnsPolicy: 'ClusterFirstWithHostNet',
            tolerations: everywhere,
            priorityClassName: 'system-node-critical',
            terminationGracePeriodSeconds: 30,
            containers: [
              {
                name: 'istio-proxy',
                image: mesh.ztunnel === undefined ? 'aura/aura' : 'aura/custom-ztunnel',
                command: mesh.ztunnel === undefined ? [aura] : [mesh.ztunnel],
                args: mesh.ztunnel === undefined ? ['ztunnel'] : ['proxy', 'ztunnel'],
                env,
                ports: [{ name: 'ztunnel-stats', containerPort: 15020 }],
                readinessProbe: readyAt(15021, '/healthz/ready'),
                volumeMounts: [
                  { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio' },
                  { name: 'istio-token', mountPath: '/var/run/secrets/tokens' },
                  { name: 'cni-ztunnel-sock-dir', mountPath: '/var/run/ztunnel' },
                  ...(rootCa === undefined
                    ? []
                    : [{ name: 'foreign-root', mountPath: '/var/run/secrets/istio-foreign' }]),
                ],
              },
            ],
            volumes: [
              tokenVolume,
              {
                name: 'istiod-ca-cert',
                configMap: { name: 'istio-ca-root-cert', optional: rootCa !== undefined },
              },
              {
                name: 'cni-ztunnel-sock-dir',
                hostPath: { path: '/var/run/ztunnel', type: 'DirectoryOrCreate' },
              },
              ...(rootCa === undefined
                ? []
                : [{ name: 'foreign-root', configMap: { name: 'aura-lab-foreign-root' } }]),
            ],
          },
        },
      },
    },
  ];
}

// What the models do not tell about the built-in types: how lists and maps merge (in strategic merge patches and
// in server-side apply) and which values a field takes when it is left out.
import type { Json } from '../json.ts';
import type { Schema } from './schema.ts';

type Facts = Partial<Schema>;

/** A list of objects that merge by key: `patch` is the key of strategic merge, `keys` those of apply. */
const byKey = (patch: string, keys: string[] = [patch], strategy = 'merge'): Facts => ({
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': keys,
  'x-kubernetes-patch-merge-key': patch,
  'x-kubernetes-patch-strategy': strategy,
});
/** Merges by key in apply, is replaced as a whole by strategic merge. */
const byKeyInApply = (...keys: string[]): Facts => ({
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': keys,
});
const set: Facts = { 'x-kubernetes-list-type': 'set' };
const mergedSet: Facts = { 'x-kubernetes-list-type': 'set', 'x-kubernetes-patch-strategy': 'merge' };
const mergedAtomic = (key: string): Facts => ({
  'x-kubernetes-list-type': 'atomic',
  'x-kubernetes-patch-merge-key': key,
  'x-kubernetes-patch-strategy': 'merge',
});
const conditions = byKey('type');
const ports = byKey('containerPort', ['containerPort', 'protocol']);
const byName = byKey('name');

/** `Type.field`; lists that are not here are atomic. */
export const listFacts: Readonly<Record<string, Facts>> = {
  'ObjectMeta.ownerReferences': byKey('uid'),
  'ObjectMeta.finalizers': mergedSet,
  'PodSpec.volumes': byKey('name', ['name'], 'merge,retainKeys'),
  'PodSpec.initContainers': byName,
  'PodSpec.containers': byName,
  'PodSpec.ephemeralContainers': byName,
  'PodSpec.imagePullSecrets': byName,
  'PodSpec.hostAliases': byKey('ip'),
  'PodSpec.topologySpreadConstraints': byKey('topologyKey', ['topologyKey', 'whenUnsatisfiable']),
  'PodSpec.schedulingGates': byName,
  'PodSpec.resourceClaims': byKey('name', ['name'], 'merge,retainKeys'),
  'Container.ports': ports,
  'Container.env': byName,
  'Container.volumeMounts': byKey('mountPath'),
  'Container.volumeDevices': byKey('devicePath'),
  'EphemeralContainer.ports': ports,
  'EphemeralContainer.env': byName,
  'EphemeralContainer.volumeMounts': byKey('mountPath'),
  'EphemeralContainer.volumeDevices': byKey('devicePath'),
  'ResourceRequirements.claims': byKeyInApply('name'),
  'ContainerStatus.volumeMounts': byKey('mountPath'),
  'ContainerStatus.allocatedResourcesStatus': byName,
  'ResourceStatus.resources': byKeyInApply('resourceID'),
  'ContainerRestartRuleOnExitCodes.values': set,
  'PodStatus.conditions': conditions,
  'PodStatus.hostIPs': mergedAtomic('ip'),
  'PodStatus.podIPs': byKey('ip'),
  'PodStatus.resourceClaimStatuses': byKey('name', ['name'], 'merge,retainKeys'),
  'ReplicationControllerStatus.conditions': conditions,
  'ServiceSpec.ports': byKey('port', ['port', 'protocol']),
  'ServiceStatus.conditions': conditions,
  'ServiceAccount.secrets': byName,
  'NodeSpec.podCIDRs': mergedSet,
  'NodeStatus.conditions': conditions,
  'NodeStatus.addresses': byKey('type'),
  'NamespaceStatus.conditions': conditions,
  'PersistentVolumeClaimStatus.conditions': conditions,
  'StatefulSetStatus.conditions': conditions,
  'DeploymentStatus.conditions': conditions,
  'DaemonSetStatus.conditions': conditions,
  'ReplicaSetStatus.conditions': conditions,
  'JobStatus.conditions': mergedAtomic('type'),
  'UncountedTerminatedPods.succeeded': set,
  'UncountedTerminatedPods.failed': set,
  'PodFailurePolicyOnExitCodesRequirement.values': set,
  'Endpoint.addresses': set,
  'ServiceCIDRStatus.conditions': conditions,
  'HorizontalPodAutoscalerStatus.conditions': conditions,
  'PodDisruptionBudgetStatus.conditions': conditions,
  'CSIDriverSpec.volumeLifecycleModes': set,
  'CSINodeSpec.drivers': byName,
  'CertificateSigningRequestStatus.conditions': byKeyInApply('type'),
  'ValidatingAdmissionPolicyStatus.conditions': byKeyInApply('type'),
  'ValidatingAdmissionPolicySpec.matchConditions': byName,
  'ValidatingAdmissionPolicySpec.variables': byName,
  'ValidatingAdmissionPolicyBindingSpec.validationActions': set,
  'ValidatingWebhookConfiguration.webhooks': byName,
  'MutatingWebhookConfiguration.webhooks': byName,
  'ValidatingWebhook.matchConditions': byName,
  'MutatingWebhook.matchConditions': byName,
  'APIServiceStatus.conditions': byKey('type'),
  'CustomResourceDefinitionStatus.conditions': byKeyInApply('type'),
};

const atomicMap: Facts = { 'x-kubernetes-map-type': 'atomic' };

export const mapFacts: Readonly<Record<string, Facts>> = {
  'PodSpec.nodeSelector': atomicMap,
  'ReplicationControllerSpec.selector': atomicMap,
  'ServiceSpec.selector': atomicMap,
  'Scheduling.nodeSelector': atomicMap,
  'DeploymentSpec.strategy': { 'x-kubernetes-patch-strategy': 'retainKeys' },
  'PodDisruptionBudgetSpec.selector': { 'x-kubernetes-patch-strategy': 'replace' },
};

/** Types whose objects are owned and replaced as a whole. */
export const atomicTypes: ReadonlySet<string> = new Set([
  'LabelSelector',
  'SecretReference',
  'FileKeySelector',
  'ObjectFieldSelector',
  'ResourceFieldSelector',
  'ConfigMapKeySelector',
  'SecretKeySelector',
  'NodeSelector',
  'NodeSelectorTerm',
  'TopologySelectorTerm',
  'EndpointAddress',
  'CoreV1EndpointPort',
  'DiscoveryV1EndpointPort',
  'ObjectReference',
  'LocalObjectReference',
  'TypedLocalObjectReference',
  'ScopeSelector',
  'OwnerReference',
  'ServiceBackendPort',
  'RbacV1Subject',
  'RoleRef',
  'ParamKind',
  'ParamRef',
  'Variable',
  'MatchResources',
  'NamedRuleWithOperations',
  'FieldsV1',
]);

/** Values that depend on nothing else. The others are set by the kind's own file. */
export const defaultsOf: Readonly<Record<string, Readonly<Record<string, Json>>>> = {
  PodSpec: {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
  },
  Container: {
    resources: {},
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
  },
  EphemeralContainer: {
    resources: {},
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
  },
  ContainerPort: { protocol: 'TCP' },
  Probe: { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 },
  HTTPGetAction: { path: '/', scheme: 'HTTP' },
  GRPCAction: { service: '' },
  ObjectFieldSelector: { apiVersion: 'v1' },
  ResourceFieldSelector: { divisor: '0' },
  SecretVolumeSource: { defaultMode: 420 },
  ConfigMapVolumeSource: { defaultMode: 420 },
  DownwardAPIVolumeSource: { defaultMode: 420 },
  ProjectedVolumeSource: { defaultMode: 420 },
  ServiceAccountTokenProjection: { expirationSeconds: 3600 },
  HostPathVolumeSource: { type: '' },
  ServiceSpec: { type: 'ClusterIP', sessionAffinity: 'None' },
  ServicePort: { protocol: 'TCP' },
  CoreV1EndpointPort: { protocol: 'TCP' },
  DiscoveryV1EndpointPort: { protocol: 'TCP', name: '' },
  DeploymentSpec: { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600, strategy: {} },
  ReplicaSetSpec: { replicas: 1 },
  ReplicationControllerSpec: { replicas: 1 },
  DaemonSetSpec: { revisionHistoryLimit: 10, updateStrategy: {} },
  StatefulSetSpec: {
    replicas: 1,
    revisionHistoryLimit: 10,
    podManagementPolicy: 'OrderedReady',
    updateStrategy: {},
    persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
  },
  JobSpec: {
    backoffLimit: 6,
    completionMode: 'NonIndexed',
    suspend: false,
    podReplacementPolicy: 'TerminatingOrFailed',
  },
  CronJobSpec: {
    concurrencyPolicy: 'Allow',
    suspend: false,
    successfulJobsHistoryLimit: 3,
    failedJobsHistoryLimit: 1,
  },
  RoleRef: { apiGroup: 'rbac.authorization.k8s.io' },
  PersistentVolumeClaimSpec: { volumeMode: 'Filesystem' },
  PersistentVolumeSpec: { volumeMode: 'Filesystem', persistentVolumeReclaimPolicy: 'Retain' },
  StorageClass: { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' },
  MutatingWebhook: {
    failurePolicy: 'Fail',
    matchPolicy: 'Equivalent',
    namespaceSelector: {},
    objectSelector: {},
    timeoutSeconds: 10,
    reinvocationPolicy: 'Never',
  },
  ValidatingWebhook: {
    failurePolicy: 'Fail',
    matchPolicy: 'Equivalent',
    namespaceSelector: {},
    objectSelector: {},
    timeoutSeconds: 10,
  },
  AdmissionregistrationV1ServiceReference: { port: 443 },
  RuleWithOperations: { scope: '*' },
  CustomResourceDefinitionSpec: { conversion: { strategy: 'None' } },
};

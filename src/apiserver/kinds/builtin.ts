// The table of built-in kinds. Storage, paths, discovery and documents are made from it.
import { builtinColumns } from '../print/columns.ts';
import type { Schema } from '../schema/schema.ts';
import { autoscalerRules, autoscalerV1 } from './autoscaling.ts';
import * as core from './core.ts';
import { definitionRules } from '../crd/definition-rules.ts';
import { allVerbs, type Kind, type KindRules } from './kind.ts';
import { podRules } from './pod.ts';
import { serviceRules } from './service.ts';
import * as workloads from './workloads.ts';

interface Entry {
  readonly kind: string;
  /** Its type in types.txt, if it is not called as the kind. */
  readonly type?: string;
  readonly cluster?: boolean;
  readonly short?: readonly string[];
  readonly categories?: readonly string[];
  readonly sub?: readonly string[];
  readonly rules?: KindRules;
  readonly collection?: string;
  readonly storageApiVersion?: string;
  readonly convert?: Kind['convert'];
  /** Only created, never stored. */
  readonly review?: boolean;
}

const all = ['all'];
const scaled = ['status', 'scale'];
const status = ['status'];

/** `group/version` → plural → entry. */
const table: Readonly<Record<string, Readonly<Record<string, Entry>>>> = {
  v1: {
    bindings: { kind: 'Binding', review: true },
    configmaps: { kind: 'ConfigMap', short: ['cm'], rules: core.configMapRules },
    endpoints: { kind: 'Endpoints', short: ['ep'] },
    events: { kind: 'Event', type: 'CoreV1Event', short: ['ev'], rules: core.eventRules },
    limitranges: { kind: 'LimitRange', short: ['limits'] },
    namespaces: {
      kind: 'Namespace',
      cluster: true,
      short: ['ns'],
      sub: ['status', 'finalize'],
      rules: core.namespaceRules,
    },
    nodes: { kind: 'Node', cluster: true, short: ['no'], sub: ['status', 'proxy'], rules: core.nodeRules },
    persistentvolumeclaims: {
      kind: 'PersistentVolumeClaim',
      short: ['pvc'],
      sub: status,
      rules: core.claimRules,
    },
    persistentvolumes: {
      kind: 'PersistentVolume',
      cluster: true,
      short: ['pv'],
      sub: status,
      rules: core.claimRules,
    },
    pods: {
      kind: 'Pod',
      short: ['po'],
      categories: all,
      sub: [
        'status',
        'binding',
        'eviction',
        'log',
        'exec',
        'attach',
        'portforward',
        'proxy',
        'ephemeralcontainers',
        'resize',
      ],
      rules: podRules,
    },
    podtemplates: { kind: 'PodTemplate' },
    replicationcontrollers: {
      kind: 'ReplicationController',
      short: ['rc'],
      categories: all,
      sub: scaled,
      rules: workloads.replicationControllerRules,
    },
    resourcequotas: { kind: 'ResourceQuota', short: ['quota'], sub: status },
    secrets: { kind: 'Secret', rules: core.secretRules },
    serviceaccounts: { kind: 'ServiceAccount', short: ['sa'], sub: ['token'] },
    services: {
      kind: 'Service',
      short: ['svc'],
      categories: all,
      sub: ['status', 'proxy'],
      rules: serviceRules,
    },
  },
  'apps/v1': {
    controllerrevisions: { kind: 'ControllerRevision' },
    daemonsets: {
      kind: 'DaemonSet',
      short: ['ds'],
      categories: all,
      sub: status,
      rules: workloads.daemonSetRules,
    },
    deployments: {
      kind: 'Deployment',
      short: ['deploy'],
      categories: all,
      sub: scaled,
      rules: workloads.deploymentRules,
    },
    replicasets: {
      kind: 'ReplicaSet',
      short: ['rs'],
      categories: all,
      sub: scaled,
      rules: workloads.replicaSetRules,
    },
    statefulsets: {
      kind: 'StatefulSet',
      short: ['sts'],
      categories: all,
      sub: scaled,
      rules: workloads.statefulSetRules,
    },
  },
  'batch/v1': {
    cronjobs: { kind: 'CronJob', short: ['cj'], categories: all, sub: status, rules: workloads.cronJobRules },
    jobs: { kind: 'Job', categories: all, sub: status, rules: workloads.jobRules },
  },
  'autoscaling/v1': {
    horizontalpodautoscalers: {
      kind: 'HorizontalPodAutoscaler',
      type: 'HorizontalPodAutoscalerV1',
      short: ['hpa'],
      categories: all,
      sub: status,
      collection: 'horizontalpodautoscalers.autoscaling',
      storageApiVersion: 'autoscaling/v2',
      convert: autoscalerV1,
      rules: autoscalerRules,
    },
  },
  'autoscaling/v2': {
    horizontalpodautoscalers: {
      kind: 'HorizontalPodAutoscaler',
      rules: autoscalerRules,
      short: ['hpa'],
      categories: all,
      sub: status,
    },
  },
  'policy/v1': {
    poddisruptionbudgets: {
      kind: 'PodDisruptionBudget',
      short: ['pdb'],
      sub: status,
      rules: core.podDisruptionBudgetRules,
    },
  },
  'networking.k8s.io/v1': {
    ingressclasses: { kind: 'IngressClass', cluster: true, rules: core.withGeneration },
    ingresses: { kind: 'Ingress', short: ['ing'], sub: status, rules: core.withGeneration },
    ipaddresses: { kind: 'IPAddress', cluster: true, short: ['ip'] },
    networkpolicies: { kind: 'NetworkPolicy', short: ['netpol'], rules: core.withGeneration },
    servicecidrs: { kind: 'ServiceCIDR', cluster: true, sub: status },
  },
  'discovery.k8s.io/v1': { endpointslices: { kind: 'EndpointSlice', rules: core.endpointSliceRules } },
  'events.k8s.io/v1': {
    events: {
      kind: 'Event',
      type: 'EventsV1Event',
      short: ['ev'],
      collection: 'events',
      storageApiVersion: 'v1',
      convert: core.eventConversion,
      rules: core.eventRules,
    },
  },
  'coordination.k8s.io/v1': { leases: { kind: 'Lease', rules: core.leaseRules } },
  'certificates.k8s.io/v1': {
    certificatesigningrequests: {
      kind: 'CertificateSigningRequest',
      cluster: true,
      short: ['csr'],
      sub: ['status', 'approval'],
      rules: core.csrRules,
    },
  },
  'rbac.authorization.k8s.io/v1': {
    clusterrolebindings: { kind: 'ClusterRoleBinding', cluster: true, rules: core.roleBindingRules },
    clusterroles: { kind: 'ClusterRole', cluster: true, rules: core.rbacRules },
    rolebindings: { kind: 'RoleBinding', rules: core.roleBindingRules },
    roles: { kind: 'Role', rules: core.rbacRules },
  },
  'storage.k8s.io/v1': {
    csidrivers: { kind: 'CSIDriver', cluster: true },
    csinodes: { kind: 'CSINode', cluster: true },
    storageclasses: { kind: 'StorageClass', cluster: true, short: ['sc'] },
    volumeattachments: { kind: 'VolumeAttachment', cluster: true, sub: status },
  },
  'scheduling.k8s.io/v1': {
    priorityclasses: { kind: 'PriorityClass', cluster: true, short: ['pc'], rules: core.priorityClassRules },
  },
  'node.k8s.io/v1': { runtimeclasses: { kind: 'RuntimeClass', cluster: true } },
  'admissionregistration.k8s.io/v1': {
    mutatingwebhookconfigurations: {
      kind: 'MutatingWebhookConfiguration',
      cluster: true,
      categories: ['api-extensions'],
      rules: core.withGeneration,
    },
    validatingwebhookconfigurations: {
      kind: 'ValidatingWebhookConfiguration',
      cluster: true,
      categories: ['api-extensions'],
      rules: core.withGeneration,
    },
    validatingadmissionpolicies: {
      kind: 'ValidatingAdmissionPolicy',
      cluster: true,
      categories: ['api-extensions'],
      sub: status,
      rules: core.withGeneration,
    },
    validatingadmissionpolicybindings: {
      kind: 'ValidatingAdmissionPolicyBinding',
      cluster: true,
      categories: ['api-extensions'],
      rules: core.withGeneration,
    },
  },
  'apiextensions.k8s.io/v1': {
    customresourcedefinitions: {
      kind: 'CustomResourceDefinition',
      cluster: true,
      short: ['crd', 'crds'],
      categories: ['api-extensions'],
      sub: status,
      rules: definitionRules,
    },
  },
  'apiregistration.k8s.io/v1': {
    apiservices: {
      kind: 'APIService',
      cluster: true,
      categories: ['api-extensions'],
      sub: status,
      rules: core.apiServiceRules,
    },
  },
  'authentication.k8s.io/v1': {
    tokenreviews: { kind: 'TokenReview', cluster: true, review: true },
    selfsubjectreviews: { kind: 'SelfSubjectReview', cluster: true, review: true },
  },
  'authorization.k8s.io/v1': {
    localsubjectaccessreviews: { kind: 'LocalSubjectAccessReview', review: true },
    selfsubjectaccessreviews: { kind: 'SelfSubjectAccessReview', cluster: true, review: true },
    selfsubjectrulesreviews: { kind: 'SelfSubjectRulesReview', cluster: true, review: true },
    subjectaccessreviews: { kind: 'SubjectAccessReview', cluster: true, review: true },
  },
};

export function builtinKinds(types: ReadonlyMap<string, Schema>): Kind[] {
  const out: Kind[] = [];
  for (const [gv, resources] of Object.entries(table)) {
    const slash = gv.indexOf('/');
    const group = slash < 0 ? '' : gv.slice(0, slash);
    const version = gv.slice(slash + 1);
    for (const [plural, entry] of Object.entries(resources)) {
      const schema = types.get(entry.type ?? entry.kind);
      if (schema === undefined) throw new Error(`types.txt has no type for ${gv} ${entry.kind}`);
      const collection = entry.collection ?? (group === '' ? plural : `${plural}.${group}`);
      const sub = entry.sub ?? [];
      out.push({
        group,
        version,
        plural,
        singular: entry.kind.toLowerCase(),
        kind: entry.kind,
        listKind: `${entry.kind}List`,
        namespaced: entry.cluster !== true,
        shortNames: entry.short ?? [],
        categories: entry.categories ?? [],
        verbs: entry.review === true ? ['create'] : allVerbs,
        collection,
        storageApiVersion: entry.storageApiVersion ?? gv,
        schema,
        subresources: new Set(sub),
        rules: entry.rules ?? {},
        columns: builtinColumns[collection],
        ...(sub.includes('scale')
          ? { scale: { specReplicas: '.spec.replicas', statusReplicas: '.status.replicas' } }
          : {}),
        ...(entry.convert === undefined ? {} : { convert: entry.convert }),
      });
    }
  }
  return out;
}

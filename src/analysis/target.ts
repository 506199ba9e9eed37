// What a user calls a source or a destination, and what it means.
import { parseIp, type Ip } from '#/kit/index.ts';
import type { Service, Workload } from '#/model/index.ts';
import type { SourceDocument } from './document.ts';
import { items, labels, string } from './fields.ts';
import type { MeshModel } from './mesh-model.ts';

/** A name that cannot be resolved. The message says what was looked for and what there is. */
export class TargetError extends Error {
  override readonly name = 'TargetError';
}

export type Party =
  | { readonly kind: 'workload'; readonly workload: Workload; readonly document?: SourceDocument }
  | { readonly kind: 'service'; readonly service: Service; readonly document?: SourceDocument }
  /** A pod that has no record (yet): it has no address, or has ended. */
  | { readonly kind: 'absent'; readonly document: SourceDocument }
  | { readonly kind: 'address'; readonly ip: Ip }
  /** A name that no service has. */
  | { readonly kind: 'hostname'; readonly hostname: string };

const kindWords: Readonly<Record<string, readonly string[]>> = {
  Pod: ['pod', 'pods', 'po'],
  Service: ['service', 'services', 'svc'],
  ServiceEntry: ['serviceentry', 'serviceentries', 'se'],
  WorkloadEntry: ['workloadentry', 'workloadentries', 'we'],
  Deployment: ['deployment', 'deployments', 'deploy'],
  StatefulSet: ['statefulset', 'statefulsets', 'sts'],
  DaemonSet: ['daemonset', 'daemonsets', 'ds'],
  ReplicaSet: ['replicaset', 'replicasets', 'rs'],
  Job: ['job', 'jobs'],
};

export interface TargetName {
  /** Absent: any kind. */
  readonly kind?: string;
  readonly namespace: string;
  readonly name: string;
}

/** `[KIND/][NAMESPACE/]NAME`. Throws TargetError. */
export function parseTarget(text: string, namespace: string): TargetName {
  const parts = text.split('/');
  const word = parts[0]?.toLowerCase() ?? '';
  const kind =
    parts.length > 1 ? Object.entries(kindWords).find(([, words]) => words.includes(word))?.[0] : undefined;
  const rest = kind === undefined ? parts : parts.slice(1);
  const [first = '', second] = rest;
  if (rest.length > 2 || first === '' || second === '')
    throw new TargetError(
      `"${text}" is not a name: write NAMESPACE/NAME, pod/NAME, service/NAME or an address`,
    );
  const named = second === undefined ? { namespace, name: first } : { namespace: first, name: second };
  return kind === undefined ? named : { kind, ...named };
}

function atAddress(model: MeshModel, ip: Ip, network: string): Party {
  const workload = model.store.workloadByAddress(network, ip);
  if (workload !== undefined) return workloadParty(model, workload);
  const service = model.store.serviceByAddress(network, ip);
  return service === undefined ? { kind: 'address', ip } : serviceParty(model, service);
}

function workloadParty(model: MeshModel, workload: Workload): Party {
  const document =
    model.podOf(workload) ?? model.document('WorkloadEntry', workload.namespace, workload.name);
  return { kind: 'workload', workload, ...(document && { document }) };
}

function serviceParty(model: MeshModel, service: Service): Party {
  const document = model.serviceDocument(service);
  return { kind: 'service', service, ...(document && { document }) };
}

function isMadeBy(model: MeshModel, pod: SourceDocument, name: string): boolean {
  if (model.lookup.facts('Pod', `${pod.namespace}/${pod.name}`)?.workloadName === name) return true;
  const hash = labels(pod.object, 'metadata', 'labels')['pod-template-hash'] ?? '';
  return items(pod.object, 'metadata', 'ownerReferences').some((owner) =>
    [name, `${name}-${hash}`].includes(string(owner, 'name')),
  );
}

/** Pods that a workload object has made, the ones with a record first. */
function podsOf(model: MeshModel, { namespace, name }: TargetName): readonly SourceDocument[] {
  const pods = model.all('Pod').filter((pod) => pod.namespace === namespace && isMadeBy(model, pod, name));
  return [...pods.filter((pod) => model.workloadOf(pod)), ...pods.filter((pod) => !model.workloadOf(pod))];
}

function podParty(model: MeshModel, pod: SourceDocument): Party {
  const workload = model.workloadOf(pod);
  return workload === undefined
    ? { kind: 'absent', document: pod }
    : { kind: 'workload', workload, document: pod };
}

function named(model: MeshModel, target: TargetName): Party | undefined {
  const { kind, namespace, name } = target;
  const wants = (one: string): boolean => kind === undefined || kind === one;
  if (wants('Service')) {
    const service = model.serviceRecord(namespace, name);
    if (service !== undefined) return serviceParty(model, service);
  }
  if (wants('Pod')) {
    const pod = model.document('Pod', namespace, name);
    if (pod !== undefined) return podParty(model, pod);
  }
  if (wants('ServiceEntry')) {
    const host = model.lookup.serviceEntry(namespace, name)?.hosts[0];
    const service = host === undefined ? undefined : model.store.serviceByKey(`${namespace}/${host}`);
    if (service !== undefined) return serviceParty(model, service);
  }
  if (wants('WorkloadEntry')) {
    const entry = [...model.store.workloads()].find((workload) =>
      workload.uid.endsWith(`/WorkloadEntry/${namespace}/${name}`),
    );
    if (entry !== undefined) return workloadParty(model, entry);
  }
  if (kind === undefined || !['Service', 'Pod', 'ServiceEntry', 'WorkloadEntry'].includes(kind)) {
    const [pod] = podsOf(model, target);
    if (pod !== undefined) return podParty(model, pod);
  }
  return undefined;
}

function notFound(model: MeshModel, { kind, namespace, name }: TargetName): TargetError {
  const known = new Set<string>();
  for (const document of [...model.all('Service'), ...model.all('Pod')])
    if (document.namespace === namespace) known.add(`${document.kind.toLowerCase()}/${document.name}`);
  const there =
    known.size === 0
      ? `namespace ${namespace} has no pods and services: give another with -n, or as NAMESPACE/NAME`
      : `there are ${[...known].slice(0, 8).join(', ')}${known.size > 8 ? ' …' : ''}`;
  const what = kind === undefined ? 'pod or service' : kind;
  return new TargetError(`no ${what} ${namespace}/${name}: ${there}`);
}

/** A name, an address, or the host name of a service. Throws TargetError if a name is nowhere. */
export function resolveTarget(
  model: MeshModel,
  text: string,
  namespace: string,
  network: string,
  preferWorkload: boolean,
): Party {
  const ip = parseIp(text.replace(/^\[|\]$/g, ''));
  if (ip !== undefined) return atAddress(model, ip, network);
  const target = parseTarget(text, namespace);
  // A source is a workload; only when there is none of that name, a service's endpoint stands for it.
  if (preferWorkload && target.kind === undefined) {
    const pod = named(model, { ...target, kind: 'Pod' }) ?? named(model, { ...target, kind: 'Deployment' });
    if (pod !== undefined) return pod;
  }
  const found = named(model, target);
  if (found !== undefined) return found;
  if (!text.includes('/')) {
    const byHost = byHostname(model, text, namespace);
    if (byHost !== undefined) return byHost;
  }
  throw notFound(model, target);
}

/** `name.ns`, `name.ns.svc`, the full name, or a host of a ServiceEntry. */
function byHostname(model: MeshModel, text: string, namespace: string): Party | undefined {
  const host = text.toLowerCase().replace(/\.$/, '');
  const { clusterDomain } = model.settings;
  for (const full of [host, `${host}.${clusterDomain}`, `${host}.svc.${clusterDomain}`]) {
    const service = model.store.serviceByHostname(full, namespace);
    if (service !== undefined) return serviceParty(model, service);
  }
  return host.includes('.') ? { kind: 'hostname', hostname: host } : undefined;
}

/** `DST:PORT`; the port may be a number, a port's name, or absent where a service has only one. */
export function splitPort(text: string): { readonly target: string; readonly port: string | undefined } {
  const match = /^(\[[^\]]*\]|[^:]*):([^:]+)$/.exec(text);
  if (match === null) return { target: text, port: undefined };
  return { target: match[1] as string, port: match[2] };
}

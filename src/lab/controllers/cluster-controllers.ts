// The controllers that are not about workloads: where pods go, which endpoints services have.
import type { Logger } from '#/kit/index.ts';
import {
  endpointSlices,
  isAlreadyExists,
  isNotFound,
  pods,
  type EndpointSlice,
  type KubeClient,
  type KubeService,
  type Pod,
} from '#/kube/index.ts';
import type { EventRecorder } from '../kubelet/event-recorder.ts';
import type { ClusterView } from './cluster-view.ts';
import { managedBy, managedByLabel, serviceNameLabel, slicesFor } from './endpoint-slices.ts';
import { canonicalJson, keyOf, matchesSelector, splitKey } from './object-tools.ts';
import { chooseNode } from './scheduling.ts';
import { WorkQueue } from './work-queue.ts';

/** Binds pods to nodes, one after another, so that each choice sees the ones before. */
export class Scheduler {
  readonly #view: ClusterView;
  readonly #events: EventRecorder;
  readonly #queue: WorkQueue;
  /** Bound by us, not yet seen bound. */
  readonly #assumed = new Map<string, string>();

  constructor(view: ClusterView, events: EventRecorder, log: Logger) {
    this.#view = view;
    this.#events = events;
    this.#queue = new WorkQueue('scheduler', log, (key) => this.#look(key), 1);
  }

  start(): void {
    const see = (pod: Pod): void => {
      if (pod.spec.nodeName === undefined || pod.spec.nodeName === '') this.#queue.add(keyOf(pod));
      else this.#assumed.delete(pod.metadata.uid ?? '');
    };
    this.#view.pods.on('add', see);
    this.#view.pods.on('update', see);
    this.#view.pods.on('delete', (pod) => this.#assumed.delete(pod.metadata.uid ?? ''));
    const again = (): void => this.#view.pods.list().forEach(see);
    this.#view.nodes.on('add', again);
    this.#view.nodes.on('update', again);
  }

  stop(): void {
    this.#queue.stop();
  }

  async #look(key: string): Promise<void> {
    const [namespace, name] = splitKey(key);
    const pod = this.#view.pods.get(namespace, name);
    const uid = pod?.metadata.uid ?? '';
    if (pod === undefined || (pod.spec.nodeName ?? '') !== '' || this.#assumed.has(uid)) return;
    if (pod.metadata.deletionTimestamp !== undefined) {
      // No kubelet will ever see it: nobody else ends it.
      await this.#view.client.delete(pods, namespace, name, {
        gracePeriodSeconds: 0,
        preconditions: { uid },
      });
      return;
    }
    const scheduler = pod.spec.schedulerName ?? 'default-scheduler';
    if (scheduler !== 'default-scheduler') return;
    const placed = this.#view.pods.list().flatMap((other) => {
      const node = other.spec.nodeName ?? this.#assumed.get(other.metadata.uid ?? '') ?? '';
      return node === '' ? [] : [{ pod: other, node }];
    });
    const choice = chooseNode(pod, this.#view.nodes.list(), placed);
    if ('reason' in choice) {
      await this.#unschedulable(pod, choice.reason);
      this.#queue.addAfter(key, 5000);
      return;
    }
    this.#assumed.set(uid, choice.node);
    try {
      await bindPod(this.#view.client, pod, choice.node);
    } catch (error) {
      this.#assumed.delete(uid);
      if (!isNotFound(error)) throw error;
      return;
    }
    this.#events.record(
      pod,
      'Pod',
      'Normal',
      'Scheduled',
      `Successfully assigned ${namespace}/${name} to ${choice.node}`,
    );
  }

  async #unschedulable(pod: Pod, message: string): Promise<void> {
    const known = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    if (known?.status === 'False' && known.message === message) return;
    this.#events.record(pod, 'Pod', 'Warning', 'FailedScheduling', message);
    const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
    const conditions = [
      ...(pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled'),
      condition,
    ];
    await this.#view.client.patch(
      pods,
      pod.metadata.namespace,
      pod.metadata.name,
      { status: { phase: 'Pending', conditions } },
      'merge',
      { subresource: 'status' },
    );
  }
}

async function bindPod(client: KubeClient, pod: Pod, node: string): Promise<void> {
  const { namespace = 'default', name, uid } = pod.metadata;
  await client.request('POST', `/api/v1/namespaces/${namespace}/pods/${encodeURIComponent(name)}/binding`, {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { name, namespace, uid },
    target: { apiVersion: 'v1', kind: 'Node', name: node },
  });
}

/** Keeps the EndpointSlices of services with a selector. */
export class EndpointSliceController {
  readonly #view: ClusterView;
  readonly #queue: WorkQueue;

  constructor(view: ClusterView, log: Logger) {
    this.#view = view;
    this.#queue = new WorkQueue('endpointslices', log, (key) => this.#look(key));
  }

  start(): void {
    const add = (service: KubeService): void => this.#queue.add(keyOf(service));
    this.#view.services.on('add', add);
    this.#view.services.on('update', add);
    this.#view.services.on('delete', add);
    const byPod = (pod: Pod): void => {
      for (const service of this.#view.services.list())
        if (
          service.metadata.namespace === pod.metadata.namespace &&
          service.spec.selector !== undefined &&
          matchesSelector({ matchLabels: service.spec.selector }, pod.metadata.labels)
        )
          add(service);
    };
    this.#view.pods.on('add', byPod);
    this.#view.pods.on('delete', byPod);
    this.#view.pods.on('update', (pod, old) => {
      byPod(pod);
      // A label that went away takes the pod out of a service that no longer matches.
      if (canonicalJson(pod.metadata.labels) !== canonicalJson(old.metadata.labels)) byPod(old);
    });
    const bySlice = (slice: EndpointSlice): void => {
      const service = slice.metadata.labels?.[serviceNameLabel];
      if (service !== undefined && slice.metadata.labels?.[managedByLabel] === managedBy)
        this.#queue.add(`${slice.metadata.namespace ?? ''}/${service}`);
    };
    this.#view.endpointSlices.on('update', bySlice);
    this.#view.endpointSlices.on('delete', bySlice);
  }

  stop(): void {
    this.#queue.stop();
  }

  async #look(key: string): Promise<void> {
    const [namespace, name] = splitKey(key);
    const { client } = this.#view;
    const service = this.#view.services.get(namespace, name);
    const own = this.#view.endpointSlices
      .list()
      .filter(
        ({ metadata }) =>
          metadata.namespace === namespace &&
          metadata.labels?.[serviceNameLabel] === name &&
          metadata.labels[managedByLabel] === managedBy,
      );
    const nodes = new Map(this.#view.nodes.list().map((node) => [node.metadata.name, node]));
    const wanted = service === undefined ? [] : slicesFor(service, this.#view.pods.list(), nodes);
    const content = ({ addressType, endpoints, ports, metadata }: EndpointSlice): string =>
      canonicalJson({ addressType, endpoints: endpoints ?? [], ports: ports ?? [], labels: metadata.labels });
    for (const slice of wanted ?? []) {
      const known = own.find(({ metadata }) => metadata.name === slice.metadata.name);
      if (known === undefined) {
        try {
          await client.create(endpointSlices, namespace, slice);
        } catch (error) {
          if (!isAlreadyExists(error)) throw error;
          // Just made, and not in the cache yet: a second look compares.
          this.#queue.addAfter(key, 200);
        }
      } else if (content(known) !== content(slice))
        await client.replace(endpointSlices, namespace, slice.metadata.name, {
          ...slice,
          metadata: { ...slice.metadata, resourceVersion: known.metadata.resourceVersion ?? '' },
        });
    }
    const names = new Set((wanted ?? []).map(({ metadata }) => metadata.name));
    for (const { metadata } of own)
      if (!names.has(metadata.name)) await client.delete(endpointSlices, namespace, metadata.name);
  }
}

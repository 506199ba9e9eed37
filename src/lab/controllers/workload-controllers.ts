// The controllers of workloads, wired to their plans.
import type { Logger } from '#/kit/index.ts';
import {
  apiVersionOf,
  daemonSets,
  deployments,
  isAlreadyExists,
  isNotFound,
  jobs,
  replicaSets,
  statefulSets,
  type Deployment,
  type Pod,
  type ReplicaSet,
} from '#/kube/index.ts';
import type { ClusterView } from './cluster-view.ts';
import { planDeployment, revisionAnnotation } from './deployment-plan.ts';
import {
  canonicalJson,
  controllerOf,
  isControlledBy,
  keyOf,
  ownerReference,
  podFromTemplate,
  randomSuffix,
  splitKey,
} from './object-tools.ts';
import { PendingChanges } from './pending-changes.ts';
import { planDaemonSet, planJob, planReplicaSet, planStatefulSet, revisionLabel } from './pod-set-plans.ts';
import { PodSetController } from './pod-set-controller.ts';
import { WorkQueue } from './work-queue.ts';

const generated = (base: string): string => `${base.slice(0, 57)}-${randomSuffix()}`;

export function workloadControllers(view: ClusterView, log: Logger): { start(): void; stop(): void } {
  const replicaSetController = new PodSetController(
    view,
    replicaSets,
    view.replicaSets,
    log,
    (set, owned) => {
      const plan = planReplicaSet(set, owned, Date.now());
      const { name, namespace = 'default' } = set.metadata;
      const owner = ownerReference(set, apiVersionOf(replicaSets), 'ReplicaSet');
      return {
        create: Array.from({ length: plan.create }, () =>
          podFromTemplate(set.spec.template, generated(name), namespace, owner),
        ),
        remove: plan.remove,
        status: plan.status,
        ...(plan.status.availableReplicas === plan.status.readyReplicas ? {} : { again: 1000 }),
      };
    },
  );
  const daemonSetController = new PodSetController(view, daemonSets, view.daemonSets, log, (set, owned) => {
    const plan = planDaemonSet(set, view.nodes.list(), owned, Date.now());
    const { name, namespace = 'default' } = set.metadata;
    const owner = ownerReference(set, apiVersionOf(daemonSets), 'DaemonSet');
    const pods = plan.create.map((node): Pod => {
      const pod = podFromTemplate(set.spec.template, generated(name), namespace, owner, {
        [revisionLabel]: plan.hash,
      });
      return { ...pod, spec: { ...pod.spec, nodeName: node } };
    });
    return { create: pods, remove: plan.remove, status: plan.status };
  });
  const statefulSetController = new PodSetController(
    view,
    statefulSets,
    view.statefulSets,
    log,
    (set, owned) => {
      const plan = planStatefulSet(set, owned, Date.now());
      const { name, namespace = 'default' } = set.metadata;
      const owner = ownerReference(set, apiVersionOf(statefulSets), 'StatefulSet');
      const pods = plan.create.map((ordinal): Pod => {
        const podName = `${name}-${ordinal}`;
        const pod = podFromTemplate(set.spec.template, podName, namespace, owner, {
          [revisionLabel]: plan.hash,
          'statefulset.kubernetes.io/pod-name': podName,
          'apps.kubernetes.io/pod-index': String(ordinal),
        });
        const subdomain = set.spec.serviceName;
        return {
          ...pod,
          spec: { ...pod.spec, hostname: podName, ...(subdomain === undefined ? {} : { subdomain }) },
        };
      });
      return { create: pods, remove: plan.remove, status: plan.status };
    },
  );
  const jobController = new PodSetController(view, jobs, view.jobs, log, (job, owned) => {
    const plan = planJob(job, owned, Date.now());
    const { name, namespace = 'default', uid = '' } = job.metadata;
    const owner = ownerReference(job, apiVersionOf(jobs), 'Job');
    const labels = {
      'batch.kubernetes.io/job-name': name,
      'job-name': name,
      'batch.kubernetes.io/controller-uid': uid,
    };
    const late = job.spec.activeDeadlineSeconds;
    return {
      create: Array.from({ length: plan.create }, () =>
        podFromTemplate(job.spec.template, generated(name), namespace, owner, labels),
      ),
      remove: plan.remove,
      status: plan.status,
      ...(late === undefined ? {} : { again: 1000 }),
    };
  });
  const deploymentController = new DeploymentController(view, log);
  const sets = [replicaSetController, daemonSetController, statefulSetController, jobController];
  return {
    start() {
      deploymentController.start();
      for (const controller of sets) controller.start();
      const onNode = (): void => daemonSetController.lookAtAll();
      view.nodes.on('add', onNode);
      view.nodes.on('update', onNode);
      view.nodes.on('delete', onNode);
    },
    stop() {
      deploymentController.stop();
      for (const controller of sets) controller.stop();
    },
  };
}

class DeploymentController {
  readonly #view: ClusterView;
  readonly #queue: WorkQueue;
  readonly #pending = new PendingChanges();

  constructor(view: ClusterView, log: Logger) {
    this.#view = view;
    this.#queue = new WorkQueue('deployments', log, (key) => this.#look(key));
  }

  start(): void {
    const add = (deployment: Deployment): void => this.#queue.add(keyOf(deployment));
    this.#view.deployments.on('add', add);
    this.#view.deployments.on('update', add);
    const bySet = (set: ReplicaSet): void => {
      const owner = controllerOf(set);
      if (owner?.kind !== 'Deployment') return;
      const key = `${set.metadata.namespace ?? ''}/${owner.name}`;
      this.#pending.seen(key, set.metadata.name);
      this.#queue.add(key);
    };
    this.#view.replicaSets.on('add', bySet);
    this.#view.replicaSets.on('update', bySet);
    this.#view.replicaSets.on('delete', bySet);
  }

  stop(): void {
    this.#queue.stop();
  }

  async #look(key: string): Promise<void> {
    const [namespace, name] = splitKey(key);
    const deployment = this.#view.deployments.get(namespace, name);
    if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return;
    if (!this.#pending.settled(key)) {
      this.#queue.addAfter(key, 1000);
      return;
    }
    const owned = this.#view.replicaSets
      .list()
      .filter((set) => set.metadata.namespace === namespace && isControlledBy(set, deployment));
    const plan = planDeployment(deployment, owned, Date.now());
    const { client } = this.#view;
    if (plan.create !== undefined) {
      this.#pending.expect(key, plan.create.metadata.name);
      try {
        await client.create(replicaSets, namespace, plan.create);
      } catch (error) {
        this.#pending.seen(key, plan.create.metadata.name);
        if (!isAlreadyExists(error)) throw error;
      }
    }
    for (const { name: set, replicas } of plan.scale)
      await client.patch(replicaSets, namespace, set, { spec: { replicas } }, 'merge');
    for (const set of plan.remove) await client.delete(replicaSets, namespace, set);
    await this.#writeRevision(deployment, plan.revision);
    const merged = { ...deployment.status, ...plan.status };
    if (canonicalJson(merged) !== canonicalJson(deployment.status ?? {}))
      await client
        .patch(deployments, namespace, name, { status: plan.status }, 'merge', { subresource: 'status' })
        .catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
  }

  /** What `kubectl rollout history` and `undo` go by. */
  async #writeRevision(
    deployment: Deployment,
    revision: { readonly name: string; readonly value: string } | undefined,
  ): Promise<void> {
    if (revision === undefined) return;
    const { namespace, name, annotations } = deployment.metadata;
    const body = { metadata: { annotations: { [revisionAnnotation]: revision.value } } };
    const set = this.#view.replicaSets.get(namespace, revision.name);
    if (set !== undefined && set.metadata.annotations?.[revisionAnnotation] !== revision.value)
      await this.#view.client.patch(replicaSets, namespace, revision.name, body, 'merge');
    if (annotations?.[revisionAnnotation] !== revision.value)
      await this.#view.client.patch(deployments, namespace, name, body, 'merge');
  }
}

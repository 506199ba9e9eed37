// What the agent writes to the API about a pod: the annotation that tells the control plane whether the pod's traffic
// goes through ztunnel, and events that tell its owner why it does not.
import { errorText } from '#/errors/index.ts';
import { Lru, type Clock, type Logger } from '#/kit/index.ts';
import { events, isNotFound, pods, type KubeClient, type Pod } from '#/kube/index.ts';
import { redirectionAnnotation } from './selection.ts';

export type Redirection = 'enabled' | 'pending';

/** The part of KubeClient that is used, so that tests can stand in for it. */
export type StatusApi = Pick<KubeClient, 'patch' | 'create'>;

const eventReason = 'AmbientSetupFailed';
const component = 'aura-cni-agent';
const maxMessage = 1000;

export class PodStatusWriter {
  readonly #api: StatusApi;
  readonly #nodeName: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** The last failure of each pod: the same one is not reported again. */
  readonly #reported = new Lru<string, string>(2000);

  constructor(options: { api: StatusApi; nodeName: string; clock: Clock; log: Logger }) {
    this.#api = options.api;
    this.#nodeName = options.nodeName;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /**
   * Sets the redirection annotation, or takes it away, through the status subresource: the agent needs no right to
   * change pods. False if the pod is gone.
   */
  async annotate(namespace: string, name: string, value: Redirection | undefined): Promise<boolean> {
    const body = { metadata: { annotations: { [redirectionAnnotation]: value ?? null } } };
    try {
      await this.#api.patch(pods, namespace, name, body, 'merge', {
        subresource: 'status',
        fieldManager: component,
      });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw new Error(`annotating pod ${namespace}/${name}: ${errorText(error)}`);
    }
  }

  /** Logs why a pod could not be set up or removed, and makes a warning event of it. Never fails. */
  async failed(pod: Pod, what: string, error: unknown): Promise<void> {
    const { namespace = 'default', name, uid = '' } = pod.metadata;
    const reason = errorText(error);
    this.#log.error(what, { pod: `${namespace}/${name}`, uid, error: reason });
    const message = `${what}: ${reason}`.slice(0, maxMessage);
    if (this.#reported.get(uid) === message) return;
    this.#reported.set(uid, message);
    const now = this.#clock.now();
    const time = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
    try {
      await this.#api.create(events, namespace, {
        metadata: { name: `${name}.${now.toString(16)}${uid.slice(0, 4)}`, namespace },
        involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid },
        reason: eventReason,
        message,
        type: 'Warning',
        count: 1,
        firstTimestamp: time,
        lastTimestamp: time,
        source: { component, host: this.#nodeName },
        reportingComponent: component,
        reportingInstance: this.#nodeName,
      });
    } catch (failure) {
      this.#log.debug('no event was made', {
        pod: `${namespace}/${name}`,
        error: errorText(failure),
      });
    }
  }

  /** The pod is well again, or gone: its next failure is news. */
  forget(uid: string): void {
    this.#reported.delete(uid);
  }
}

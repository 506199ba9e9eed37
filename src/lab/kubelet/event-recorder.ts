// Writes Events about pods, as a kubelet does. A repeated event raises the count of the one that is there. The
// queue is bounded: an event that finds it full is dropped, since events explain and must never hold work up.
import { createHash } from 'node:crypto';
import { Lru } from '#/kit/index.ts';
import { events, isNotFound, type KubeClient, type KubeObject } from '#/kube/index.ts';
import { isoSeconds } from './pod-status.ts';

const queueLimit = 200;

export class EventRecorder {
  readonly #client: KubeClient;
  readonly #component: string;
  readonly #host: string;
  readonly #counts = new Lru<string, { name: string; count: number }>(1000);
  #queue: (() => Promise<void>)[] = [];
  #busy = false;

  constructor(client: KubeClient, component: string, host: string) {
    this.#client = client;
    this.#component = component;
    this.#host = host;
  }

  record(
    object: KubeObject,
    kind: string,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
  ): void {
    if (this.#queue.length >= queueLimit) return;
    this.#queue.push(() => this.#write(object, kind, type, reason, message.slice(0, 1024)));
    if (!this.#busy) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      try {
        await next();
      } catch {
        // The API is away, or the namespace is ending: the event is lost, the work goes on.
      }
    }
    this.#busy = false;
  }

  async #write(
    object: KubeObject,
    kind: string,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
  ): Promise<void> {
    const { name, namespace = 'default', uid = '' } = object.metadata;
    const key = createHash('sha256')
      .update([uid, type, reason, message].join('\n'))
      .digest('hex')
      .slice(0, 16);
    const now = isoSeconds(Date.now());
    const known = this.#counts.get(key);
    if (known !== undefined) {
      known.count++;
      try {
        await this.#client.patch(
          events,
          namespace,
          known.name,
          { count: known.count, lastTimestamp: now },
          'merge',
        );
        return;
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    const eventName = `${name}.${key}`;
    await this.#client.ensure(events, namespace, {
      metadata: { name: eventName, namespace },
      involvedObject: { apiVersion: object.apiVersion ?? 'v1', kind, namespace, name, uid },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component: this.#component, host: this.#host },
      reportingComponent: this.#component,
      reportingInstance: this.#host,
    });
    this.#counts.set(key, { name: eventName, count: 1 });
  }
}

// Spans to their collectors: a queue for each tracing provider that is in use.
import type { Clock, Logger } from '#/kit/index.ts';
import type { Provider, WaypointResource } from '#/model/index.ts';
import { spanFamilies, type MetricSet } from '#/telemetry/index.ts';
import type { WaypointConfig } from './config.ts';
import { providerExporter, SpanQueue, type FinishedSpan } from './tracing/index.ts';

const closeMs = 1000;

interface Queue {
  readonly provider: string;
  readonly queue: SpanQueue;
}

export class SpanQueues {
  readonly #config: WaypointConfig;
  readonly #clock: Clock;
  readonly #log: Logger;
  #providers = new Map<string, Provider>();
  readonly #queues = new Map<string, Queue>();

  constructor(config: WaypointConfig, clock: Clock, log: Logger) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
  }

  /** After each change of resources. */
  providers(resources: Iterable<WaypointResource>): void {
    const now = new Map<string, Provider>();
    for (const resource of resources) if (resource.kind === 'provider') now.set(resource.name, resource);
    this.#providers = now;
    for (const [name, { provider, queue }] of this.#queues) {
      const current = now.get(name);
      if (current !== undefined && JSON.stringify(current) === provider) continue;
      this.#queues.delete(name);
      void queue.close(closeMs);
    }
  }

  add(name: string, spans: readonly FinishedSpan[]): void {
    const queue = this.#queue(name);
    if (queue !== undefined) for (const span of spans) queue.add(span);
  }

  #queue(name: string): SpanQueue | undefined {
    const known = this.#queues.get(name);
    if (known !== undefined) return known.queue;
    const provider = this.#providers.get(name);
    if (provider === undefined) return undefined;
    const { gatewayName, namespace, instanceIp } = this.#config;
    const exporter = providerExporter(provider, {
      serviceName: `${gatewayName}.${namespace}`,
      attributes: { 'k8s.namespace.name': namespace },
      ip: instanceIp,
    });
    if (exporter === undefined) return undefined;
    const queue = new SpanQueue({ exporter, clock: this.#clock, logger: this.#log });
    this.#queues.set(name, { provider: JSON.stringify(provider), queue });
    return queue;
  }

  count(metrics: MetricSet): void {
    for (const [name, { queue }] of this.#queues) {
      const { exported, dropped, failed } = queue.counts;
      metrics.set(spanFamilies.exported, [name], exported);
      metrics.set(spanFamilies.lost, [name, 'dropped'], dropped);
      metrics.set(spanFamilies.lost, [name, 'failed'], failed);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(({ queue }) => queue.close(closeMs)));
  }
}

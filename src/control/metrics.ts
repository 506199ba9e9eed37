// What 15014/metrics tells, under upstream's names where it has one.
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { CaOutcome } from './ca-service.ts';

export interface PushStats {
  readonly pushes: number;
  readonly resources: number;
  readonly removed: number;
  readonly bytes: number;
  readonly nacks: number;
}

/** The short names that Istio's dashboards know types by. */
const shortType = (typeUrl: string): string =>
  ({
    'istio.workload.Address': 'wds',
    'istio.workload.Workload': 'wds',
    'istio.security.Authorization': 'wads',
  })[typeUrl.slice(typeUrl.lastIndexOf('/') + 1)] ?? typeUrl;

export interface MetricsSources {
  readonly version: string;
  /** The Istio version that each connected proxy says it is. */
  readonly connections: () => readonly string[];
  /** By type URL, since the start. */
  readonly pushes: () => ReadonlyMap<string, Readonly<PushStats>>;
  readonly services: () => number;
  /** Milliseconds since the epoch at which the root ends; undefined while there is none. */
  readonly rootExpiry: () => number | undefined;
  readonly records: () => number;
  /** Other clusters. */
  readonly clusters: () => readonly {
    readonly id: string;
    readonly syncStatus: string;
    readonly answers: boolean;
  }[];
}

export class ControlMetrics {
  readonly registry = new Registry();
  readonly #inbound: Counter<'type'>;
  readonly #round: Histogram;
  readonly #pushed: Counter;
  readonly #csr: Counter;
  readonly #issued: Counter;
  readonly #unauthenticated: Counter;
  readonly #csrErrors: Counter;
  readonly #signErrors: Counter<'error'>;
  readonly #status: Counter<'kind' | 'result'>;

  constructor(sources: MetricsSources) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: 'pilot_info',
      help: 'Version of this control plane.',
      labelNames: ['version'],
      registers,
    })
      .labels(sources.version)
      .set(1);
    new Gauge({
      name: 'pilot_xds',
      help: 'Proxies connected by xDS.',
      labelNames: ['version'],
      registers,
      collect() {
        this.reset();
        for (const version of sources.connections()) this.inc({ version: version || 'unknown' });
      },
    });
    const pushed = (name: string, help: string, value: (stats: Readonly<PushStats>) => number) =>
      new Counter({
        name,
        help,
        labelNames: ['type'],
        registers,
        collect() {
          this.reset();
          for (const [typeUrl, stats] of sources.pushes())
            this.inc({ type: shortType(typeUrl) }, value(stats));
        },
      });
    pushed('pilot_xds_pushes', 'Responses sent to proxies.', ({ pushes }) => pushes);
    pushed('pilot_total_xds_rejects', 'Responses that proxies have refused.', ({ nacks }) => nacks);
    pushed('aura_control_pushed_bytes_total', 'Bytes sent to proxies.', ({ bytes }) => bytes);
    pushed(
      'aura_control_pushed_resources_total',
      'Resources sent to proxies, removals included.',
      ({ resources, removed }) => resources + removed,
    );
    new Gauge({
      name: 'pilot_services',
      help: 'Services known to this control plane.',
      registers,
      collect() {
        this.set(sources.services());
      },
    });
    new Gauge({
      name: 'aura_control_records',
      help: 'Workloads, services and policies that are served.',
      registers,
      collect() {
        this.set(sources.records());
      },
    });
    new Gauge({
      name: 'istiod_managed_clusters',
      help: 'Clusters of the mesh that this control plane reads.',
      labelNames: ['cluster_type'],
      registers,
      collect() {
        this.set({ cluster_type: 'local' }, 1);
        this.set({ cluster_type: 'remote' }, sources.clusters().length);
      },
    });
    new Gauge({
      name: 'aura_control_remote_cluster_up',
      help: '1 if the cluster has been read and answers.',
      labelNames: ['cluster'],
      registers,
      collect() {
        this.reset();
        for (const { id, syncStatus, answers } of sources.clusters())
          this.set({ cluster: id }, syncStatus === 'synced' && answers ? 1 : 0);
      },
    });
    new Gauge({
      name: 'citadel_server_root_cert_expiry_timestamp',
      help: 'Unix time in seconds at which the root certificate ends.',
      registers,
      collect() {
        this.set((sources.rootExpiry() ?? 0) / 1000);
      },
    });
    this.#inbound = new Counter({
      name: 'pilot_inbound_updates',
      help: 'Changes that came from the Kubernetes API.',
      labelNames: ['type'],
      registers,
    });
    this.#round = new Histogram({
      name: 'aura_control_translation_seconds',
      help: 'Time from a change to its new resources, one round of translation.',
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
      registers,
    });
    this.#pushed = new Counter({
      name: 'aura_control_resources_changed_total',
      help: 'Resources that became different.',
      registers,
    });
    const counter = (name: string, help: string) => new Counter({ name, help, registers });
    this.#csr = counter('citadel_server_csr_count', 'Certificate requests.');
    this.#issued = counter('citadel_server_success_cert_issuance_count', 'Certificates issued.');
    this.#unauthenticated = counter(
      'citadel_server_authentication_failure_count',
      'Certificate requests of callers that were refused.',
    );
    this.#csrErrors = counter(
      'citadel_server_csr_parsing_err_count',
      'Certificate requests that cannot be read.',
    );
    this.#signErrors = new Counter({
      name: 'citadel_server_csr_sign_err_count',
      help: 'Certificate requests that could not be signed.',
      labelNames: ['error'],
      registers,
    });
    this.#status = new Counter({
      name: 'aura_control_status_writes_total',
      help: 'Writes to the status of objects.',
      labelNames: ['kind', 'result'],
      registers,
    });
  }

  inbound(kind: string): void {
    this.#inbound.inc({ type: kind });
  }

  round(ms: number, changed: number): void {
    this.#round.observe(ms / 1000);
    this.#pushed.inc(changed);
  }

  certificate(outcome: CaOutcome): void {
    this.#csr.inc();
    switch (outcome) {
      case 'success':
        this.#issued.inc();
        break;
      case 'unauthenticated':
        this.#unauthenticated.inc();
        break;
      case 'csr':
        this.#csrErrors.inc();
        break;
      case 'ttl':
      case 'not-ready':
      case 'overload':
      case 'error':
        this.#signErrors.inc({ error: outcome });
        break;
    }
  }

  statusWrite(kind: string, ok: boolean): void {
    this.#status.inc({ kind, result: ok ? 'ok' : 'error' });
  }
}

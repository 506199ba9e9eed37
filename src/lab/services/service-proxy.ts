// Keeps the service rules of every node current. Changes are gathered for a moment, then each node gets its whole
// table at once; a node whose table is as it was is left alone.
import type { Logger } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';
import type { EndpointSlice } from '#/kube/index.ts';
import { createHash } from 'node:crypto';
import type { AddressPlan } from '../address-plan.ts';
import { inNetns, must } from '../command.ts';
import type { ClusterView } from '../controllers/cluster-view.ts';
import { serviceNameLabel } from '../controllers/endpoint-slices.ts';
import { nodePaths, type LabPaths } from '../paths.ts';
import { renderServiceRules, serviceForwards } from './service-rules.ts';

const gatherMs = 30;
const retryMs = 2000;

export class ServiceProxy {
  readonly #view: ClusterView;
  readonly #paths: LabPaths;
  readonly #plan: AddressPlan;
  readonly #log: Logger;
  readonly #applied = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #busy = false;
  #again = false;
  #stopped = false;

  constructor(view: ClusterView, paths: LabPaths, plan: AddressPlan, log: Logger) {
    this.#view = view;
    this.#paths = paths;
    this.#plan = plan;
    this.#log = log;
  }

  start(): void {
    const soon = (): void => this.#soon(gatherMs);
    for (const informer of [this.#view.services, this.#view.endpointSlices] as const) {
      informer.on('add', soon);
      informer.on('update', soon);
      informer.on('delete', soon);
    }
    this.#soon(0);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #soon(ms: number): void {
    if (this.#stopped || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#apply();
    }, ms);
  }

  async #apply(): Promise<void> {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    const slices = new Map<string, EndpointSlice[]>();
    for (const slice of this.#view.endpointSlices.list()) {
      const key = `${slice.metadata.namespace}/${slice.metadata.labels?.[serviceNameLabel]}`;
      const list = slices.get(key) ?? [];
      list.push(slice);
      slices.set(key, list);
    }
    const services = this.#view.services
      .list()
      .sort((a, b) => ((a.metadata.creationTimestamp ?? '') < (b.metadata.creationTimestamp ?? '') ? -1 : 1));
    await Promise.all(
      this.#plan.nodes.map(async ({ name }) => {
        const forwards = services.flatMap((service) =>
          serviceForwards(
            service,
            slices.get(`${service.metadata.namespace}/${service.metadata.name}`) ?? [],
            name,
          ),
        );
        const rules = renderServiceRules(forwards, this.#plan.serviceCidrs);
        const digest = createHash('sha256').update(rules).digest('hex');
        if (this.#applied.get(name) === digest) return;
        try {
          await must(inNetns(nodePaths(this.#paths, name).netns, ['nft', '-f', '-']), { input: rules });
          this.#applied.set(name, digest);
        } catch (error) {
          this.#applied.delete(name);
          this.#log.error('service rules were not applied', { node: name, error: errorText(error) });
          this.#soon(retryMs);
        }
      }),
    );
    this.#busy = false;
    if (this.#again) {
      this.#again = false;
      this.#soon(0);
    }
  }
}

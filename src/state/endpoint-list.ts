// The workloads that stand behind one service. Adding and removing one costs the same for ten as for ten thousand.
import type { EndpointSet, Workload } from '#/model/index.ts';

// Below this many, walking is as fast as an index and costs no memory.
const indexFrom = 12;

export class EndpointList implements EndpointSet {
  readonly workloads: Workload[] = [];
  #index: Map<string, number> | undefined;
  #uneven = 0;

  get evenlyWeighted(): boolean {
    return this.#uneven === 0;
  }

  has(uid: string): boolean {
    return this.#find(uid) >= 0;
  }

  set(workload: Workload): void {
    this.delete(workload.uid);
    this.workloads.push(workload);
    if (workload.capacity !== 1) this.#uneven++;
    if (this.#index !== undefined) this.#index.set(workload.uid, this.workloads.length - 1);
    else if (this.workloads.length >= indexFrom)
      this.#index = new Map(this.workloads.map(({ uid }, index) => [uid, index]));
  }

  delete(uid: string): boolean {
    const index = this.#find(uid);
    if (index < 0) return false;
    if ((this.workloads[index] as Workload).capacity !== 1) this.#uneven--;
    const last = this.workloads.pop() as Workload;
    this.#index?.delete(uid);
    if (last.uid !== uid) {
      this.workloads[index] = last;
      this.#index?.set(last.uid, index);
    }
    if (this.workloads.length < indexFrom / 2) this.#index = undefined;
    return true;
  }

  #find(uid: string): number {
    if (this.#index !== undefined) return this.#index.get(uid) ?? -1;
    return this.workloads.findIndex((workload) => workload.uid === uid);
  }
}

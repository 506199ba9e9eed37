// What a proxy is going to say to one DNS question of a pod. Made by `route`, carried out by a proxy. Plain data.
import type { Ip } from '#/kit/index.ts';
import type { MeshKey } from './mesh-view.ts';
import type { Service } from './service.ts';
import type { Workload } from './workload.ts';

/** A question for addresses. */
export interface NameFacts {
  /** The workload whose application asks. */
  readonly client: Workload;
  /** Lower case, without a dot at the end. */
  readonly name: string;
  /** The family that is asked for. */
  readonly family: 4 | 6;
}

/** The answer cannot be given yet: fetch the keys, then plan again. */
export interface NameNeeds {
  readonly kind: 'needs';
  readonly keys: readonly MeshKey[];
}

/** The mesh has nothing to say of the name: a name server is to be asked. */
export interface NameForward {
  readonly kind: 'forward';
}

export interface NameAnswer {
  readonly kind: 'answer';
  /** `other-family`: the service, or the whole node, does not do this family. Then, as with `none`, no addresses. */
  readonly outcome: 'found' | 'none' | 'other-family';
  readonly service: Service;
  /** In the order in which they are to be given. */
  readonly addresses: readonly Ip[];
  /** What is left of the name without a search domain, if one had to be cut off: the addresses are that name's. */
  readonly canonicalName?: string;
}

export type NamePlan = NameNeeds | NameForward | NameAnswer;

// What one connection wants of one type, what it has, and what it is owed. Pure protocol: no streams, no time.
// Wildcard connections cost a place in the log; the names that a client holds are kept for on-demand ones only.
import { RpcError } from '#/identity/index.ts';
import type { DeltaDiscoveryRequest } from '#/wire/index.ts';
import type { XdsResource } from './resource-source.ts';
import type { Batch, TypeFeed } from './type-feed.ts';

/** Names that one on-demand client may ask for. */
const maxNames = 200_000;

const everything = '*';

export class SubscriptionState {
  readonly feed: TypeFeed;
  #wildcard: boolean;
  /** On demand: names, aliases and groups that it asked for or that come with what it asked for. */
  readonly #names = new Set<string>();
  /** On demand: names of what it holds. */
  readonly #held = new Set<string>();
  /** Names that must be answered, though nothing has changed. */
  readonly #asked = new Set<string>();
  /** Set until the first push: the versions that the client brought along. */
  #brought: ReadonlyMap<string, string> | undefined;
  #place = 0;

  /** From the first request of a type on a stream. `implicit`: groups that it gets without asking. */
  constructor(feed: TypeFeed, request: DeltaDiscoveryRequest, implicit: readonly string[]) {
    this.feed = feed;
    const asked = request.resourceNamesSubscribe;
    const wildcard = asked.length === 0 || asked.includes(everything);
    // Both to subscribe and to unsubscribe from everything is how a client says: on demand, nothing yet.
    this.#wildcard = wildcard && !request.resourceNamesUnsubscribe.includes(everything);
    this.#brought = new Map(Object.entries(request.initialResourceVersions));
    for (const group of implicit) this.#names.add(group);
    for (const name of asked) if (name !== everything) this.#ask(name);
    if (!this.#wildcard) for (const name of this.#brought.keys()) this.#held.add(name);
  }

  get wildcard(): boolean {
    return this.#wildcard;
  }

  get subscribed(): number {
    return this.#names.size;
  }

  /** Everything before this place of the log is of no more interest here. */
  get place(): number {
    return this.#brought === undefined ? this.#place : this.feed.log.head;
  }

  /** True if `next` may have something to say. */
  get owed(): boolean {
    return this.#brought !== undefined || this.#asked.size > 0 || this.#place < this.feed.log.head;
  }

  /** A later request's changes. Throws RpcError when it asks for too much. */
  change(request: DeltaDiscoveryRequest): void {
    for (const name of request.resourceNamesUnsubscribe) {
      if (name === everything) this.#wildcard = false;
      this.#names.delete(name);
      this.#asked.delete(name);
      this.#held.delete(name);
    }
    for (const name of request.resourceNamesSubscribe) {
      if (name !== everything) this.#ask(name);
      else if (!this.#wildcard) {
        this.#wildcard = true;
        this.#brought = new Map();
        this.#held.clear();
      }
    }
  }

  /**
   * What is owed now, and counts it as given. `nothing`: no response is needed. `behind`: the log no longer reaches
   * back to this connection's place; it must start over.
   */
  next(): Batch | 'nothing' | 'behind' {
    const { feed } = this;
    const first = this.#brought !== undefined;
    const changed = first ? [] : feed.log.since(this.#place);
    if (changed === undefined) return 'behind';
    const batch = this.#wildcard ? this.#nextOfAll(changed) : this.#nextOnDemand(changed);
    this.#place = feed.log.head;
    this.#brought = undefined;
    this.#asked.clear();
    // The first request of a type is always answered: clients wait for it to be ready.
    return first || batch.resources > 0 || batch.removed > 0 ? batch : 'nothing';
  }

  #ask(name: string): void {
    if (this.#names.size >= maxNames)
      throw new RpcError(
        'RESOURCE_EXHAUSTED',
        `more than ${maxNames} names on demand; subscribe to "*" instead`,
      );
    this.#names.add(name);
    this.#asked.add(name);
  }

  #nextOfAll(changed: readonly string[]): Batch {
    const { feed } = this;
    const { source } = feed;
    const brought = this.#brought;
    if (brought === undefined) {
      const shared = this.#asked.size === 0 ? feed.since(this.#place) : undefined;
      if (shared !== undefined) return shared;
      const names = new Set(changed);
      const resources = new Set<XdsResource>();
      const removed: string[] = [];
      for (const name of names.union(this.#asked)) {
        const found = names.has(name)
          ? [source.get(name)].filter((one) => one !== undefined)
          : [...source.lookup(name)];
        if (found.length === 0) removed.push(name);
        for (const resource of found) resources.add(resource);
      }
      return feed.batch(resources, removed);
    }
    if (brought.size === 0) return feed.full();
    const resources: XdsResource[] = [];
    for (const resource of source.all()) if (!isHeld(brought, resource)) resources.push(resource);
    return feed.batch(resources, missing(feed, brought.keys()));
  }

  #nextOnDemand(changed: readonly string[]): Batch {
    const { source } = this.feed;
    const resources = new Set<XdsResource>();
    const removed = new Set<string>();
    for (const name of changed) {
      const resource = source.get(name);
      if (resource === undefined) {
        if (this.#held.has(name)) removed.add(name);
      } else if (this.#wants(resource)) resources.add(resource);
      else if (this.#held.has(name)) removed.add(name);
    }
    for (const name of this.#asked) {
      const found = [...source.lookup(name)];
      for (const resource of found) this.#takeWithMembers(resource, resources);
      for (const member of source.members(name)) resources.add(member);
      if (found.length === 0) removed.add(name);
    }
    if (this.#brought !== undefined) {
      for (const group of this.#names) for (const member of source.members(group)) resources.add(member);
      for (const name of this.#brought.keys()) {
        const resource = source.get(name);
        if (resource === undefined) removed.add(name);
        else if (this.#wants(resource)) resources.add(resource);
        else removed.add(name);
      }
      for (const resource of resources) if (isHeld(this.#brought, resource)) resources.delete(resource);
    }
    for (const name of removed) this.#held.delete(name);
    for (const { name } of resources) this.#held.add(name);
    return this.feed.batch(resources, [...removed]);
  }

  /** A service that was asked for by an alias is followed by its name from now on, and brings its workloads. */
  #takeWithMembers(resource: XdsResource, into: Set<XdsResource>): void {
    into.add(resource);
    this.#names.add(resource.name);
    for (const member of this.feed.source.members(resource.name)) into.add(member);
  }

  #wants({ name, aliases = [], groups = [] }: XdsResource): boolean {
    const names = this.#names;
    return (
      names.has(name) ||
      (this.#held.has(name) && this.feed.source.takesBack !== true) ||
      aliases.some((alias) => names.has(alias)) ||
      groups.some((group) => names.has(group))
    );
  }
}

function isHeld(brought: ReadonlyMap<string, string>, resource: XdsResource): boolean {
  return resource.version !== '' && brought.get(resource.name) === resource.version;
}

function missing(feed: TypeFeed, names: Iterable<string>): string[] {
  return [...names].filter((name) => feed.source.get(name) === undefined);
}

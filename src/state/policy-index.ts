// Policies by key and by reach, and the set that a workload stands under, sorted once and kept until a policy changes.
import { compilePolicy, policySet, noPolicies, type CompiledPolicy, type PolicySet } from '#/policy/index.ts';
import { policyKey, type Policy, type PolicyKey, type Workload } from '#/model/index.ts';

type Group = Map<PolicyKey, CompiledPolicy>;

export class PolicyIndex {
  readonly #byKey: Group = new Map();
  readonly #global: Group = new Map();
  readonly #byNamespace = new Map<string, Group>();
  #sets = new WeakMap<Workload, PolicySet>();

  get(key: PolicyKey): Policy | undefined {
    return this.#byKey.get(key)?.policy;
  }

  get size(): number {
    return this.#byKey.size;
  }

  *all(): IterableIterator<Policy> {
    for (const { policy } of this.#byKey.values()) yield policy;
  }

  *ofNamespace(namespace: string): IterableIterator<Policy> {
    for (const { policy } of this.#byNamespace.get(namespace)?.values() ?? []) yield policy;
  }

  set(policy: Policy): void {
    const key = policyKey(policy);
    this.delete(key);
    const compiled = compilePolicy(policy);
    this.#byKey.set(key, compiled);
    if (policy.scope === 'Global') this.#global.set(key, compiled);
    else if (policy.scope === 'Namespace') {
      const group = this.#byNamespace.get(policy.namespace);
      if (group === undefined) this.#byNamespace.set(policy.namespace, new Map([[key, compiled]]));
      else group.set(key, compiled);
    }
    this.#sets = new WeakMap();
  }

  delete(key: PolicyKey): Policy | undefined {
    const compiled = this.#byKey.get(key);
    if (compiled === undefined) return undefined;
    const { namespace } = compiled.policy;
    this.#byKey.delete(key);
    this.#global.delete(key);
    const group = this.#byNamespace.get(namespace);
    if (group?.delete(key) === true && group.size === 0) this.#byNamespace.delete(namespace);
    this.#sets = new WeakMap();
    return compiled.policy;
  }

  /** Global ones, those of the namespace, and those that the workload lists. */
  setFor(workload: Workload): PolicySet {
    const kept = this.#sets.get(workload);
    if (kept !== undefined) return kept;
    const made = this.#make(workload);
    this.#sets.set(workload, made);
    return made;
  }

  #make(workload: Workload): PolicySet {
    const group = this.#byNamespace.get(workload.namespace);
    const listed = workload.authorizationPolicies;
    if (group === undefined && this.#global.size === 0 && listed.length === 0) return noPolicies;
    const policies = [...this.#global.values(), ...(group?.values() ?? [])];
    const unknown: PolicyKey[] = [];
    for (const key of listed) {
      const policy = this.#byKey.get(key);
      if (policy === undefined) unknown.push(key);
      else policies.push(policy);
    }
    return policySet(policies, unknown);
  }
}

// Whose certificates a node's proxy may have: those of pods that run on its own node.
import { identityParts, parseIdentity, type Identity } from '#/model/index.ts';
import type { Caller } from './caller.ts';
import type { PodIdentity } from './pod-directory.ts';

export interface PodView {
  get(namespace: string, name: string): PodIdentity | undefined;
  runsOn(namespace: string, serviceAccount: string, node: string): boolean;
}

export interface NodeRules {
  /** `ns/sa` */
  readonly trustedAccounts: readonly string[];
  readonly trustDomain: string;
}

/** The identity to sign for, or why not. A refusal may be due to our caches being behind: the proxy asks again. */
export function authorizeImpersonation(
  caller: Caller,
  requested: string,
  pods: PodView,
  rules: NodeRules,
): { readonly identity: Identity } | { readonly refused: string } {
  const account = `${caller.namespace}/${caller.serviceAccount}`;
  if (!rules.trustedAccounts.includes(account))
    return { refused: `${account} may not ask for other identities than its own` };
  const identity = parseIdentity(requested);
  if (identity === undefined)
    return { refused: `"${requested}" is not spiffe://<trust domain>/ns/<namespace>/sa/<service account>` };
  const { trustDomain, namespace, serviceAccount } = identityParts(identity);
  // Upstream does not compare it; a certificate of another trust domain is not ours to give.
  if (trustDomain !== rules.trustDomain)
    return { refused: `"${requested}" is not of the trust domain ${rules.trustDomain}` };
  if (caller.pod === undefined)
    return { refused: `the token of ${account} is not bound to a pod, so its node is not known` };
  const pod = pods.get(caller.namespace, caller.pod.name);
  if (pod === undefined)
    return { refused: `the calling pod ${caller.namespace}/${caller.pod.name} is not known (yet)` };
  if (pod.uid !== caller.pod.uid)
    return {
      refused: `the calling pod ${caller.namespace}/${caller.pod.name} has uid ${pod.uid}, the token says ${caller.pod.uid}`,
    };
  if (pod.serviceAccount !== caller.serviceAccount)
    return {
      refused: `the calling pod ${caller.namespace}/${caller.pod.name} runs as ${pod.serviceAccount}, not as ${caller.serviceAccount}`,
    };
  if (!pods.runsOn(namespace, serviceAccount, pod.node))
    return {
      refused: `no pod of ${namespace}/${serviceAccount} runs on node ${pod.node} (as far as is known yet)`,
    };
  return { identity };
}

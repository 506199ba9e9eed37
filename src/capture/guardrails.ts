// While the rules of a running pod are replaced, nothing may pass: between two tables traffic would be half
// captured. The guardrail is a chain of ours, so that one left behind by a crash is found and removed.

export const guardChain = 'ISTIO_GUARD';
const hooks = ['INPUT', 'FORWARD', 'OUTPUT'] as const;

/** Drops all TCP and UDP in the namespace. For `iptables-restore --noflush`. */
export function guardrailInput(): string {
  return [
    '*filter',
    `-N ${guardChain}`,
    ...['tcp', 'udp'].map((protocol) => `-A ${guardChain} -p ${protocol} -j DROP`),
    ...hooks.map((hook) => `-I ${hook} 1 -j ${guardChain}`),
    'COMMIT',
    '',
  ].join('\n');
}

// NetworkPolicies that were written for pods outside of the mesh: its tunnel and its probes come another way.
import { matchesSelector, readLabelSelector } from '#/translate/index.ts';
import { cidrContains, parseCidr, parseIpBytes } from '#/kit/index.ts';
import { field, items, labels, string, strings } from '../fields.ts';
import { some, type Analyzer } from '../finding.ts';

const hbone = 15008;
const probe = parseIpBytes('169.254.7.127') ?? new Uint8Array(4);

function admitsPort(rule: unknown): boolean {
  const ports = items(rule, 'ports');
  return (
    ports.length === 0 ||
    ports.some((one) => {
      const port = field(one, 'port');
      if (string(one, 'protocol') !== '' && string(one, 'protocol') !== 'TCP') return false;
      if (port === undefined) return true;
      const end = field(one, 'endPort');
      return typeof port === 'number' && port <= hbone && hbone <= (typeof end === 'number' ? end : port);
    })
  );
}

function admitsProbe(rule: unknown): boolean {
  const from = items(rule, 'from');
  return (
    from.length === 0 ||
    from.some((peer) => {
      const range = parseCidr(string(peer, 'ipBlock', 'cidr'));
      return range !== undefined && cidrContains(range, probe);
    })
  );
}

const hasProbe = (pod: unknown): boolean =>
  items(pod, 'spec', 'containers').some((container) =>
    ['readinessProbe', 'livenessProbe', 'startupProbe'].some((name) => {
      const check = field(container, name);
      return field(check, 'exec') === undefined && check !== undefined;
    }),
  );

export const networkPolicies: Analyzer = (model, report) => {
  for (const document of model.all('NetworkPolicy')) {
    const { object, namespace } = document;
    const types = strings(object, 'spec', 'policyTypes');
    if (types.length > 0 && !types.includes('Ingress')) continue;
    const selector = readLabelSelector(field(object, 'spec', 'podSelector'));
    const pods = model
      .all('Pod')
      .filter(
        (pod) =>
          pod.namespace === namespace &&
          model.isCaptured(pod) &&
          matchesSelector(selector, labels(pod.object, 'metadata', 'labels')),
      );
    if (pods.length === 0) continue;
    const rules = items(object, 'spec', 'ingress');
    const names = some(pods.map(({ name }) => `pod ${name}`));
    if (!rules.some(admitsPort))
      report(
        'AUR0701',
        document,
        'spec.ingress',
        `no ingress rule has port ${hbone}, at which the mesh comes to ${names}`,
      );
    const probed = pods.filter((pod) => hasProbe(pod.object));
    if (probed.length > 0 && !rules.some(admitsProbe))
      report(
        'AUR0702',
        document,
        'spec.ingress',
        `no ingress rule admits 169.254.7.127, from which the probes of ${some(probed.map(({ name }) => `pod ${name}`))} come`,
      );
  }
};

// PeerAuthentications that cannot be read, have no effect, or compete.
import { selects, type PeerAuthenticationFacts } from '#/translate/index.ts';
import { field, labels, string } from '../fields.ts';
import { some, type Analyzer } from '../finding.ts';
import { modeOf } from '../peer-authentication.ts';

export const peerAuthentications: Analyzer = (model, report) => {
  const groups = new Map<string, PeerAuthenticationFacts[]>();
  for (const document of model.all('PeerAuthentication')) {
    const key = `${document.namespace}/${document.name}`;
    const facts = model.lookup.facts('PeerAuthentication', key);
    if (facts === undefined) continue;
    for (const { field: path, reason } of model.problems.get(`PeerAuthentication ${key}`) ?? [])
      report(reason.includes('no effect') ? 'AUR0402' : 'AUR0401', document, path, `${path}: ${reason}`);
    if (string(document.object, 'spec', 'mtls', 'mode') === 'DISABLE')
      report('AUR0403', document, 'spec.mtls.mode', 'mode DISABLE counts as PERMISSIVE');
    const ports = field(document.object, 'spec', 'portLevelMtls');
    for (const [port, value] of Object.entries((ports as object | undefined) ?? {}))
      if (string(value, 'mode') === 'DISABLE')
        report(
          'AUR0403',
          document,
          `spec.portLevelMtls.${port}.mode`,
          `mode DISABLE of port ${port} counts as PERMISSIVE`,
        );
    const selector = JSON.stringify(
      Object.keys(facts.selector)
        .sort()
        .map((key) => [key, facts.selector[key]]),
    );
    const group = groups.get(`${document.namespace} ${selector}`);
    if (group === undefined) groups.set(`${document.namespace} ${selector}`, [facts]);
    else group.push(facts);
  }
  for (const group of groups.values()) {
    if (group.length < 2) continue;
    const [oldest, ...rest] = group.sort((a, b) => a.created - b.created || (a.name < b.name ? -1 : 1));
    for (const { namespace, name } of rest) {
      const document = model.document('PeerAuthentication', namespace, name);
      if (document !== undefined)
        report(
          'AUR0404',
          document,
          'metadata.name',
          `${oldest?.name} is for the same workloads and decides: this one has no effect`,
        );
    }
  }
  strictOnUncaptured(model, report);
};

const strictOnUncaptured: Analyzer = (model, report) => {
  const open = new Map<string, string[]>();
  for (const pod of model.all('Pod')) {
    const workload = model.workloadOf(pod);
    if (workload === undefined || workload.nativeTunnel || model.isCaptured(pod)) continue;
    const { mode, document } = modeOf(model, pod.namespace, labels(pod.object, 'metadata', 'labels'));
    if (mode !== 'STRICT' || document === undefined) continue;
    // A mesh-wide STRICT is not meant for what is outside of the mesh; a namespace's own is meant for its pods.
    if (document.namespace === model.settings.rootNamespace) continue;
    const list = open.get(document.name.concat(' ', document.namespace)) ?? [];
    list.push(`pod ${pod.name}`);
    open.set(document.name.concat(' ', document.namespace), list);
  }
  for (const [key, pods] of open) {
    const [name = '', namespace = ''] = key.split(' ');
    const document = model.document('PeerAuthentication', namespace, name);
    const facts = model.lookup.facts('PeerAuthentication', `${namespace}/${name}`);
    if (document === undefined || facts === undefined) continue;
    const where = selects(facts.selector, {}) ? 'spec.mtls' : 'spec.selector';
    report('AUR0405', document, where, `not captured, and open to plain text: ${some(pods)}`);
  }
};

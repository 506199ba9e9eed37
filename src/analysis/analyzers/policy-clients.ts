// Clients in rules that nobody is: of another trust domain, of a namespace or service account that does not exist.
import { field, items, strings } from '../fields.ts';
import type { SourceDocument } from '../document.ts';
import type { Analyzer, Report } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';

interface Known {
  /** Namespaces of which we have seen what is in them. */
  readonly namespaces: ReadonlySet<string>;
  readonly accounts: ReadonlySet<string>;
}

function knownClients(model: MeshModel): Known {
  const accounts = new Set<string>();
  for (const workload of model.store.workloads())
    accounts.add(`${workload.namespace}/${workload.serviceAccount}`);
  for (const { namespace, name } of model.all('ServiceAccount')) accounts.add(`${namespace}/${name}`);
  const namespaces = new Set<string>();
  for (const { name } of model.all('Namespace')) namespaces.add(name);
  for (const account of accounts) namespaces.add(account.slice(0, account.indexOf('/')));
  return { namespaces, accounts };
}

function unknown(known: Known, namespace: string, account: string | undefined): string | undefined {
  if (!known.namespaces.has(namespace)) return `there is no namespace ${namespace}`;
  if (account === undefined || account === '*' || known.accounts.has(`${namespace}/${account}`))
    return undefined;
  // Without one of its accounts in sight, the namespace's accounts are not known at all.
  if (![...known.accounts].some((one) => one.startsWith(`${namespace}/`))) return undefined;
  return `namespace ${namespace} has no service account ${account}, and no pod with it`;
}

function principal(
  model: MeshModel,
  known: Known,
  text: string,
  at: (code: Parameters<Report>[0], message: string, fix?: string) => void,
): void {
  const plain = text.replace(/^spiffe:\/\//, '');
  if (text === '*' || plain.startsWith('*') || plain.endsWith('*')) return;
  const match = /^([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(plain);
  if (match === null) {
    at('AUR0315', `"${text}" is no principal`, `write ${model.settings.trustDomain}/ns/NAMESPACE/sa/ACCOUNT`);
    return;
  }
  const [, domain, namespace = '', account = ''] = match;
  if (domain !== model.settings.trustDomain) {
    at('AUR0309', `"${text}" is of trust domain ${domain}, the mesh is ${model.settings.trustDomain}`);
    return;
  }
  const reason = unknown(known, namespace, account);
  if (reason !== undefined) at('AUR0310', `"${text}": ${reason}`);
}

function rule(
  model: MeshModel,
  known: Known,
  document: SourceDocument,
  value: unknown,
  base: string,
  report: Report,
): void {
  const namespaceAt = (name: string, path: string): void => {
    if (name.includes('*') || known.namespaces.has(name)) return;
    report('AUR0310', document, path, `there is no namespace ${name}`);
  };
  items(value, 'from').forEach((from, i) => {
    const path = `${base}.from[${i}].source`;
    for (const name of ['principals', 'notPrincipals'])
      strings(from, 'source', name).forEach((text, j) =>
        principal(model, known, text, (code, message, fix) =>
          report(code, document, `${path}.${name}[${j}]`, message, fix),
        ),
      );
    for (const name of ['namespaces', 'notNamespaces'])
      strings(from, 'source', name).forEach((text, j) => namespaceAt(text, `${path}.${name}[${j}]`));
    for (const name of ['serviceAccounts', 'notServiceAccounts'])
      strings(from, 'source', name).forEach((text, j) => {
        const slash = text.indexOf('/');
        const reason = unknown(
          known,
          slash < 0 ? document.namespace : text.slice(0, slash),
          text.slice(slash + 1),
        );
        if (reason !== undefined)
          report('AUR0310', document, `${path}.${name}[${j}]`, `"${text}": ${reason}`);
      });
  });
  items(value, 'when').forEach((when, i) => {
    const key = field(when, 'key');
    for (const name of ['values', 'notValues'])
      strings(when, name).forEach((text, j) => {
        const path = `${base}.when[${i}].${name}[${j}]`;
        if (key === 'source.principal')
          principal(model, known, text, (code, message, fix) => report(code, document, path, message, fix));
        else if (key === 'source.namespace') namespaceAt(text, path);
      });
  });
}

export const policyClients: Analyzer = (model, report) => {
  const known = knownClients(model);
  // Files that bring no workloads say nothing of who there is.
  if (known.accounts.size === 0) return;
  for (const document of model.all('AuthorizationPolicy'))
    items(document.object, 'spec', 'rules').forEach((value, i) =>
      rule(model, known, document, value, `spec.rules[${i}]`, report),
    );
};

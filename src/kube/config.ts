// Where the API server is and how one proves who one is: from a kubeconfig, or from inside a cluster.
//
// Why not @kubernetes/client-node: importing it takes 240-570 ms and 70 MB of memory here, for every node
// agent and proxy, while the mesh needs a dozen requests on dynamic objects. `yaml` and node:https do it in
// 25 ms. The full client is still what the embedded API server is tested with.
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';

export interface ClusterConfig {
  /** `https://host:port`, maybe with a path. */
  readonly server: string;
  /** PEM. Absent: the system's authorities. */
  readonly ca?: string;
  /** The name to check the server's certificate against, if it differs from the host. */
  readonly tlsServerName?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly clientCert?: string;
  readonly clientKey?: string;
  /** Asked before each request; a file is read again when it has changed. */
  readonly token?: () => string | undefined;
  readonly basic?: { readonly username: string; readonly password: string };
  /** The namespace of the context, `default` if it names none. */
  readonly namespace: string;
}

interface NamedEntries {
  readonly name: string;
  readonly [part: string]: unknown;
}

const serviceAccountDir = '/var/run/secrets/kubernetes.io/serviceaccount';

/** A token that lives in a file and is replaced there while we run (projected service account tokens). */
export function fileToken(path: string, now: () => number = Date.now): () => string {
  let checked = -Infinity;
  let changed = -1;
  let token = '';
  return () => {
    if (now() - checked >= 1000) {
      checked = now();
      // A projected token is replaced by a rename, so the modification time tells.
      const mtime = statSync(path).mtimeMs;
      if (mtime !== changed) {
        token = readFileSync(path, 'utf8').trim();
        changed = mtime;
      }
    }
    return token;
  };
}

const field = (record: unknown, key: string): unknown =>
  typeof record === 'object' && record !== null ? (record as Record<string, unknown>)[key] : undefined;

const text = (record: unknown, key: string): string | undefined => {
  const value = field(record, key);
  return typeof value === 'string' && value !== '' ? value : undefined;
};

/**
 * Reads a kubeconfig. `context` is the file's current one by default.
 * Throws an Error that names the file and the entry that is missing or not supported.
 */
export function loadKubeconfig(file: string, context?: string): ClusterConfig {
  return parseKubeconfig(readFileSync(file, 'utf8'), file, {
    directory: dirname(file),
    ...(context === undefined ? {} : { context }),
  });
}

/**
 * Reads the text of a kubeconfig; `file` names it in errors. Without `directory` it may come from somebody else, in a
 * Secret: then it must hold all that it needs, and may neither name files of ours nor leave the server unchecked.
 */
export function parseKubeconfig(
  content: string,
  file: string,
  { directory, context }: { readonly directory?: string; readonly context?: string } = {},
): ClusterConfig {
  const root: unknown = parse(content, { maxAliasCount: 100 });
  const local = (path: string): string => {
    if (directory === undefined)
      throw new Error(`kubeconfig ${file}: it names the file ${path}; only inline data is taken here`);
    return resolve(directory, path);
  };
  const named = (list: string, name: string): unknown => {
    const entries = field(root, list);
    const found = Array.isArray(entries)
      ? (entries as NamedEntries[]).find((entry) => entry.name === name)
      : undefined;
    if (found === undefined) throw new Error(`kubeconfig ${file}: ${list} has no entry named "${name}"`);
    return found;
  };
  const contextName = context ?? text(root, 'current-context');
  if (contextName === undefined)
    throw new Error(`kubeconfig ${file}: no current-context, and none was asked for`);
  const chosen = field(named('contexts', contextName), 'context');
  const cluster = field(named('clusters', text(chosen, 'cluster') ?? ''), 'cluster');
  const userName = text(chosen, 'user');
  const user = userName === undefined ? undefined : field(named('users', userName), 'user');
  const server = text(cluster, 'server');
  if (server === undefined)
    throw new Error(`kubeconfig ${file}: the cluster of context "${contextName}" has no server`);
  if (field(user, 'exec') !== undefined || field(user, 'auth-provider') !== undefined)
    throw new Error(
      `kubeconfig ${file}: user "${userName}" takes its credential from a plug-in program, which is not supported: ` +
        `use a client certificate or a token, for example of "kubectl create token"`,
    );
  // Either inline base64 or a path relative to the kubeconfig.
  const pem = (record: unknown, key: string): string | undefined => {
    const data = text(record, `${key}-data`);
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
    const path = text(record, key);
    return path === undefined ? undefined : readFileSync(local(path), 'utf8');
  };
  const ca = pem(cluster, 'certificate-authority');
  const clientCert = pem(user, 'client-certificate');
  const clientKey = pem(user, 'client-key');
  const tokenFile = text(user, 'tokenFile');
  const tokenText = text(user, 'token');
  const token =
    tokenFile !== undefined
      ? fileToken(local(tokenFile))
      : tokenText !== undefined
        ? () => tokenText
        : undefined;
  const unchecked = field(cluster, 'insecure-skip-tls-verify') === true;
  if (unchecked && directory === undefined)
    throw new Error(
      `kubeconfig ${file}: insecure-skip-tls-verify is not taken here; give the server's authority`,
    );
  const tlsServerName = text(cluster, 'tls-server-name');
  const username = text(user, 'username');
  return {
    server: server.replace(/\/+$/, ''),
    namespace: text(chosen, 'namespace') ?? 'default',
    ...(ca === undefined ? {} : { ca }),
    ...(tlsServerName === undefined ? {} : { tlsServerName }),
    ...(unchecked ? { insecureSkipTlsVerify: true } : {}),
    ...(clientCert === undefined ? {} : { clientCert }),
    ...(clientKey === undefined ? {} : { clientKey }),
    ...(token === undefined ? {} : { token }),
    ...(username === undefined ? {} : { basic: { username, password: text(user, 'password') ?? '' } }),
  };
}

/**
 * The configuration a pod has: the address from its environment, token and authority from its files.
 * Throws if this is not a pod.
 */
export function inClusterConfig(
  env: Readonly<Record<string, string | undefined>>,
  dir: string = serviceAccountDir,
): ClusterConfig {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  if (host === undefined || host === '')
    throw new Error(
      'no kubeconfig was given, and this is not a pod (KUBERNETES_SERVICE_HOST is not set): pass --kubeconfig FILE',
    );
  let namespace = 'default';
  try {
    namespace = readFileSync(`${dir}/namespace`, 'utf8').trim();
  } catch {
    // Optional: only the token and the authority are always there.
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ca: readFileSync(`${dir}/ca.crt`, 'utf8'),
    token: fileToken(`${dir}/token`),
    namespace,
  };
}

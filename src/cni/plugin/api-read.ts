// Two reads from the Kubernetes API with the kubeconfig that the agent keeps in its run directory. Small on purpose:
// the plugin is started for every pod, and node:https or a YAML parser are loaded only when they are needed.
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, RequestOptions } from 'node:http';

const maxAnswer = 8 * 1024 * 1024;

interface Access {
  readonly server: URL;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
  readonly token?: string;
}

type Tree = { readonly [key: string]: Tree | undefined };
const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);

async function readAccess(file: string): Promise<Access> {
  const source = await readFile(file, 'utf8');
  // The agent writes JSON, which is YAML; upstream's agent writes YAML that is not JSON.
  const config = (source.trimStart().startsWith('{')
    ? JSON.parse(source)
    : (await import('yaml')).parse(source)) as unknown as Record<string, unknown>;
  const pick = (list: unknown, name: unknown) =>
    Array.isArray(list) ? (list as { name?: unknown }[]).find((entry) => entry.name === name) : undefined;
  const context = (pick(config['contexts'], config['current-context']) as Tree | undefined)?.['context'];
  const cluster = (pick(config['clusters'], context?.['cluster']) as Tree | undefined)?.['cluster'];
  const user = (pick(config['users'], context?.['user']) as Tree | undefined)?.['user'];
  const server = text(cluster?.['server']);
  if (server === undefined) throw new Error(`${file} names no server in its current context`);
  const pem = async (from: Tree | undefined, key: string): Promise<string | undefined> => {
    const data = text(from?.[`${key}-data`]);
    if (data !== undefined) return Buffer.from(data, 'base64').toString();
    const path = text(from?.[key]);
    return path === undefined ? undefined : readFile(path, 'utf8');
  };
  const tokenFile = text(user?.['tokenFile']);
  const parts = {
    ca: await pem(cluster, 'certificate-authority'),
    cert: await pem(user, 'client-certificate'),
    key: await pem(user, 'client-key'),
    servername: text(cluster?.['tls-server-name']),
    rejectUnauthorized: (cluster?.['insecure-skip-tls-verify'] as unknown) === true ? false : undefined,
    token: tokenFile === undefined ? text(user?.['token']) : (await readFile(tokenFile, 'utf8')).trim(),
  };
  return {
    server: new URL(server),
    ...(Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as object),
  };
}

async function get(access: Access, path: string, timeoutMs: number): Promise<unknown> {
  const { server, token, ...tls } = access;
  const { request } = server.protocol === 'http:' ? await import('node:http') : await import('node:https');
  const options: RequestOptions = {
    method: 'GET',
    headers: {
      accept: 'application/json',
      'user-agent': 'aura-cni',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    agent: false,
    signal: AbortSignal.timeout(timeoutMs),
    ...tls,
  };
  const url = new URL(server.pathname.replace(/\/$/, '') + path, server);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url, options, resolve).on('error', reject).end();
  });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxAnswer) throw new Error(`GET ${path}: the answer is larger than ${maxAnswer} bytes`);
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks).toString();
  if (response.statusCode === 200) return JSON.parse(body);
  let message = body.slice(0, 200);
  try {
    message = (JSON.parse(body) as { message?: string }).message ?? message;
  } catch {
    // Not a Status: a proxy's own words.
  }
  throw new Error(`GET ${path}: HTTP ${response.statusCode}: ${message}`);
}

export interface PodFacts {
  readonly pod: unknown;
  readonly namespaceLabels: Readonly<Record<string, string>>;
}

/** Reads the pod and its namespace. Rejects with a message that names the path and what the API said. */
export async function readPod(
  kubeconfig: string,
  namespace: string,
  name: string,
  timeoutMs: number,
): Promise<PodFacts> {
  const access = await readAccess(kubeconfig);
  const root = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
  const [pod, space] = await Promise.all([
    get(access, `${root}/pods/${encodeURIComponent(name)}`, timeoutMs),
    get(access, root, timeoutMs),
  ]);
  const labels = (space as { metadata?: { labels?: Record<string, string> } }).metadata?.labels;
  if (typeof (pod as { metadata?: unknown }).metadata !== 'object')
    throw new Error(`GET ${root}/pods/${name}: the answer is not a pod`);
  return { pod, namespaceLabels: labels ?? {} };
}

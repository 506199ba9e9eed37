// A server for tests: a temporary directory, any free port, gone when the test ends.
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { KubeClient, loadKubeconfig, namespaces } from '#/kube/index.ts';
import { startApiserver, type Apiserver, type ApiserverConfig, type ApiserverDeps } from './server.ts';

export interface TestServer {
  readonly server: Apiserver;
  readonly client: KubeClient;
  readonly dir: string;
  /** A request as the administrator, with all of the answer. */
  raw(
    method: string,
    path: string,
    options?: {
      readonly body?: string | Buffer;
      readonly headers?: Readonly<Record<string, string>>;
      readonly anonymous?: boolean;
    },
  ): Promise<Answer>;
  restart(): Promise<void>;
}

export interface Answer {
  readonly code: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly json: Record<string, unknown> & {
    message?: string;
    reason?: string;
    metadata?: Record<string, unknown>;
  };
}

export async function testServer(
  t: { after(fn: () => Promise<void>): void },
  config: Partial<ApiserverConfig> = {},
  deps: ApiserverDeps = {},
): Promise<TestServer> {
  const dir = mkdtempSync(join(tmpdir(), 'aura-apiserver-'));
  const kubeconfig = join(dir, 'kubeconfig');
  const start = (): Promise<Apiserver> =>
    startApiserver({ host: '127.0.0.1', port: 0, dataDir: join(dir, 'data'), kubeconfig, ...config }, deps);
  let server = await start();
  let client = KubeClient.fromKubeconfig(kubeconfig);
  t.after(async () => {
    client.close();
    await server[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    get server() {
      return server;
    },
    get client() {
      return client;
    },
    dir,
    raw(method, path, options = {}) {
      const { server: url, ca, clientCert, clientKey } = loadKubeconfig(kubeconfig);
      const { hostname, port } = new URL(url);
      return new Promise((resolve, reject) => {
        const request = httpsRequest(
          {
            host: hostname,
            port,
            method,
            path,
            agent: false,
            ...(ca === undefined ? {} : { ca }),
            ...(options.anonymous === true || clientCert === undefined || clientKey === undefined
              ? {}
              : { cert: clientCert, key: clientKey }),
            headers: {
              ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
              ...options.headers,
            },
          },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('error', reject);
            response.on('end', () => {
              const text = Buffer.concat(chunks).toString('utf8');
              let json: Answer['json'] = {};
              try {
                json = JSON.parse(text) as Answer['json'];
              } catch {
                // Not all answers are JSON.
              }
              resolve({ code: response.statusCode ?? 0, headers: response.headers, text, json });
            });
          },
        );
        request.on('error', reject);
        request.end(options.body);
      });
    },
    async restart() {
      client.close();
      await server[Symbol.asyncDispose]();
      server = await start();
      client = KubeClient.fromKubeconfig(kubeconfig);
    },
  };
}

/** One server for all tests of a file, which keep apart by namespace. To be called at the top of the file. */
export function sharedServer(
  config: Partial<ApiserverConfig> = {},
  deps: ApiserverDeps = {},
): TestServer & { readonly started: Promise<void>; fresh(): Promise<string> } {
  let own: TestServer | undefined;
  const atEnd: (() => Promise<void>)[] = [];
  const started = Promise.withResolvers<void>();
  before(async () => {
    own = await testServer({ after: (fn) => void atEnd.push(fn) }, config, deps);
    started.resolve();
  });
  after(async () => {
    for (const fn of atEnd) await fn();
  });
  const running = (): TestServer => {
    if (own === undefined) throw new Error('the server is there only while tests run');
    return own;
  };
  let count = 0;
  return {
    /** For other hooks that need it: the order of hooks is not kept. */
    started: started.promise,
    get server() {
      return running().server;
    },
    get client() {
      return running().client;
    },
    get dir() {
      return running().dir;
    },
    raw: (method, path, options) => running().raw(method, path, options),
    restart: () => running().restart(),
    /** A new namespace. */
    async fresh() {
      const name = `test-${++count}`;
      await running().client.create(namespaces, undefined, { metadata: { name } });
      return name;
    },
  };
}

export const map = (name: string, data: Record<string, string> = {}) => ({ metadata: { name }, data });

export const pod = (name: string, node?: string) => ({
  metadata: { name },
  spec: { containers: [{ name: 'c', image: 'busybox' }], ...(node === undefined ? {} : { nodeName: node }) },
});

/** Waits until `check` gives a value. */
export async function eventually<T>(
  check: () => Promise<T | undefined> | T | undefined,
  ms = 5000,
): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const found = await check();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

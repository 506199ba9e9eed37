// A lab with a waypoint and what sends traffic through it, for tests end to end. In the namespace `shop`, all of it
// captured: `app` (httpbin; v1 on the worker, v2 on the control-plane node, each with a Service of its own, too), `echo`
// (TCP that speaks first, HTTP and WebSocket, gRPC; on the worker), and clients. `client` has a pod on every node,
// `other` is a second account in a namespace of its own. Calls are made by curl in a client's pod.
import assert from 'node:assert/strict';
import { execInPod, type PodTarget } from '#/lab/index.ts';
import type { WaypointResource } from '#/model/index.ts';
import { eventually, TestLab } from '../lab/test-lab.ts';

export const worker = 'ambient-worker';
export const controlPlane = 'ambient-control-plane';

const everywhere = 'tolerations: [{ operator: Exists }]';

/** A Deployment of one httpbin that is called by the name of its pod; `labels` are those of the pod. */
export const httpbin = (namespace: string, name: string, node: string, labels: string, more = ''): string => `
apiVersion: v1
kind: ServiceAccount
metadata: { name: ${name}, namespace: ${namespace} }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { deployment: ${name} } }
  template:
    metadata: { labels: { deployment: ${name}, ${labels} } }
    spec:
      serviceAccountName: ${name}
      terminationGracePeriodSeconds: 1
      nodeName: ${node}
      ${everywhere}
      ${more}
      containers:
        - name: httpbin
          image: aura/httpbin
          ports: [{ name: http, containerPort: 80 }]
          readinessProbe: { httpGet: { path: /get, port: http }, periodSeconds: 2 }
---
`;

export const service = (namespace: string, name: string, selector: string, ports: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec: { selector: { ${selector} }, ports: [${ports}] }
---
`;

const httpPort = '{ name: http, port: 80, appProtocol: http }';

/** A client that does nothing by itself. Without a node: a pod on every node. */
export const client = (namespace: string, name: string): string => `
apiVersion: v1
kind: ServiceAccount
metadata: { name: ${name}, namespace: ${namespace} }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      serviceAccountName: ${name}
      terminationGracePeriodSeconds: 1
      ${everywhere}
      containers: [{ name: client, image: aura/debug }]
---
`;

export const namespace = (name: string, labels = ''): string => `
apiVersion: v1
kind: Namespace
metadata: { name: ${name}, labels: { istio.io/dataplane-mode: ambient${labels === '' ? '' : `, ${labels}`} } }
---
`;

const echo = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo, namespace: shop }
spec:
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      terminationGracePeriodSeconds: 1
      nodeName: ${worker}
      containers:
        - name: echo
          image: aura/echo
          ports: [{ containerPort: 9000 }, { containerPort: 8080 }, { containerPort: 9090 }]
          readinessProbe: { tcpSocket: { port: 9090 }, periodSeconds: 2 }
---
${service('shop', 'echo', 'app: echo', '{ name: tcp, port: 9000, appProtocol: tcp }, { name: http, port: 8080, appProtocol: http }, { name: grpc, port: 9090, appProtocol: grpc }')}`;

const shop =
  namespace('shop') +
  httpbin('shop', 'app-v1', worker, 'app: app, version: v1') +
  httpbin('shop', 'app-v2', controlPlane, 'app: app, version: v2') +
  service('shop', 'app', 'app: app', httpPort) +
  service('shop', 'app-v1', 'app: app, version: v1', httpPort) +
  service('shop', 'app-v2', 'app: app, version: v2', httpPort) +
  echo +
  client('shop', 'client') +
  namespace('elsewhere') +
  client('elsewhere', 'other');

export interface Call {
  /** curl's exit code. */
  readonly code: number;
  /** 0: no answer. */
  readonly status: number;
  /** By lower-case name; several of one name are joined by ", ". */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** What curl said when it failed. */
  readonly error: string;
}

export interface CallOptions {
  /** `client` (the default) in shop, or `other` in elsewhere. */
  readonly from?: 'client' | 'other';
  /** The node of the client's pod: the worker, if nothing is said. */
  readonly node?: string;
  /** Further words for curl. */
  readonly args?: readonly string[];
}

/** A message head of curl's `-D -`, the last one if there are several; then the body. */
function parseAnswer(text: string): Pick<Call, 'status' | 'headers' | 'body'> {
  let rest = text;
  let status = 0;
  let headers: Record<string, string> = {};
  while (rest.startsWith('HTTP/')) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) break;
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n');
    status = Number(first.split(' ')[1]);
    headers = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    }
    rest = rest.slice(end + 4);
  }
  return { status, headers, body: rest };
}

/** What httpbin's /get and /anything tell. */
export interface Seen {
  readonly args: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly origin: string;
  readonly url: string;
  readonly pod: string;
  readonly method?: string;
  readonly data?: string;
}

/** What the application saw; its headers by lower-case name. */
export function seen(call: Call): Seen {
  assert.equal(call.status, 200, `${call.status} ${call.error} ${call.body}`);
  const told = JSON.parse(call.body) as Seen;
  const headers = Object.entries(told.headers).map(([name, value]) => [name.toLowerCase(), value]);
  return { ...told, headers: Object.fromEntries(headers) as Record<string, string> };
}

export class WaypointLab implements AsyncDisposable {
  readonly lab = new TestLab();
  #sequence = 0;

  /** The lab, its applications, and what `more` says, all ready; with the waypoint of `shop`, for all of the namespace. */
  async start(more = '', waypoint: readonly string[] = ['--enroll-namespace']): Promise<void> {
    const { lab } = this;
    await lab.up('--nodes', '2', '-f', lab.file('shop.yaml', shop), ...this.#extra(more));
    await lab.must('waypoint', 'apply', '-n', 'shop', '--wait', ...waypoint);
    if (waypoint.includes('--enroll-namespace'))
      await this.until('calls go through the waypoint', 'http://app/get', throughWaypoint);
  }

  #extra(manifest: string): string[] {
    return manifest === '' ? [] : ['-f', this.lab.file(`more-${this.#sequence++}.yaml`, manifest)];
  }

  apply(manifest: string): Promise<string> {
    return this.lab.apply(manifest);
  }

  /** Applies, and returns when all pods that were asked for are ready. */
  async applyAndWait(manifest: string): Promise<void> {
    await this.lab.up('--nodes', '2', ...this.#extra(manifest));
  }

  /** Removes what the manifest names, and takes it if it is not there. */
  async remove(manifest: string): Promise<void> {
    await this.lab.mustKubectl(['delete', '--ignore-not-found', '--wait=true', '-f', '-'], manifest);
  }

  /** For the time of `use`: then the manifest is removed again. */
  async with(manifest: string, use: () => Promise<void>): Promise<void> {
    await this.apply(manifest);
    try {
      await use();
    } finally {
      await this.remove(manifest);
    }
  }

  client({ from = 'client', node = worker }: CallOptions = {}): PodTarget {
    return { namespace: from === 'client' ? 'shop' : 'elsewhere', name: `ds/${from}`, node };
  }

  /** Runs a command in a client's pod. */
  run(argv: readonly string[], options: CallOptions = {}, timeoutMs = 30_000): ReturnType<typeof execInPod> {
    return execInPod(this.lab.paths, this.client(options), argv, timeoutMs);
  }

  /** One call by curl. Does not fail by itself. */
  async call(url: string, options: CallOptions = {}): Promise<Call> {
    const argv = ['curl', '-sS', '-m', '20', '-D', '-', ...(options.args ?? []), url];
    const { code, stdout, stderr } = await this.run(argv, options);
    return { code, ...parseAnswer(stdout), error: stderr.trim() };
  }

  /** Calls until the answer is as wanted; gives that answer. */
  async until(
    what: string,
    url: string,
    wanted: (call: Call) => boolean,
    options: CallOptions = {},
    timeoutMs = 30_000,
  ): Promise<Call> {
    let last: Call | undefined;
    try {
      return await eventually(
        what,
        async () => {
          last = await this.call(url, options);
          return wanted(last) ? last : undefined;
        },
        timeoutMs,
      );
    } catch (error) {
      assert.fail(`${String(error)}; last: ${JSON.stringify(last)}`);
    }
  }

  /** Until the status is this one. */
  untilStatus(url: string, status: number, options: CallOptions = {}): Promise<Call> {
    return this.until(`${url} answers ${status}`, url, (call) => call.status === status, options);
  }

  /** `count` calls over one connection of the client; how many had each status and were served by each Deployment. */
  async many(
    url: string,
    count: number,
    options: CallOptions = {},
  ): Promise<{ readonly statuses: Record<string, number>; readonly servedBy: Record<string, number> }> {
    const argv = ['curl', '-sS', '-m', '60', '-w', '\nstatus=%{http_code}\n', ...(options.args ?? [])];
    const { stdout } = await this.run(
      [...argv, `${url}${url.includes('?') ? '&' : '?'}n=[1-${count}]`],
      options,
      90_000,
    );
    const statuses: Record<string, number> = {};
    for (const [, status = ''] of stdout.matchAll(/^status=(\d+)$/gm))
      statuses[status] = (statuses[status] ?? 0) + 1;
    const servedBy: Record<string, number> = {};
    for (const [, pod = ''] of stdout.matchAll(/"(?:pod|hostname)": "([^"]+)"/g)) {
      const deployment = pod.replace(/-[a-z0-9]+-[a-z0-9]+$/, '');
      servedBy[deployment] = (servedBy[deployment] ?? 0) + 1;
    }
    return { statuses, servedBy };
  }

  #waypoint(name: string): PodTarget {
    const [namespace = 'shop', deployment = name] = name.includes('/') ? name.split('/') : ['shop', name];
    return { namespace, name: `deploy/${deployment}` };
  }

  async #ask(name: string, url: string): Promise<string> {
    const argv = ['curl', '-sSf', '-m', '10', url];
    const { code, stdout, stderr } = await execInPod(this.lab.paths, this.#waypoint(name), argv);
    assert.equal(code, 0, `${url} of waypoint ${name}: ${stderr}`);
    return stdout;
  }

  /** What the waypoint has written so far. `name` may be `namespace/name`. */
  log(name = 'waypoint'): Promise<string> {
    const { namespace, name: deployment } = this.#waypoint(name);
    return this.lab.must('lab', 'logs', deployment, '-n', namespace);
  }

  /** The newest line of the waypoint's log that has all of these words, when it comes. */
  logLine(words: readonly string[], name = 'waypoint'): Promise<string> {
    return eventually(`a line with ${words.join(', ')}`, async () =>
      (await this.log(name)).split('\n').findLast((line) => words.every((word) => line.includes(word))),
    );
  }

  metrics(name = 'waypoint'): Promise<string> {
    return this.#ask(name, 'http://127.0.0.1:15020/stats/prometheus');
  }

  /** The series of a metric that have these labels, and their values. */
  async series(
    metric: string,
    labels: Readonly<Record<string, string>>,
    name = 'waypoint',
  ): Promise<{ readonly labels: Record<string, string>; readonly value: number }[]> {
    const found = [];
    for (const line of (await this.metrics(name)).split('\n')) {
      if (!line.startsWith(`${metric}{`)) continue;
      const end = line.lastIndexOf('}');
      const has: Record<string, string> = {};
      for (const [, key = '', value = ''] of line.slice(0, end).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
        has[key] = value;
      if (Object.entries(labels).every(([key, value]) => has[key] === value))
        found.push({
          labels: has,
          value: Number(
            line
              .slice(end + 1)
              .trim()
              .split(' ')[0],
          ),
        });
    }
    return found;
  }

  /** The sum of a metric's series that have these labels. */
  async count(metric: string, labels: Readonly<Record<string, string>>, name = 'waypoint'): Promise<number> {
    return (await this.series(metric, labels, name)).reduce((sum, { value }) => sum + value, 0);
  }

  async configDump(name = 'waypoint'): Promise<{
    readonly services: readonly unknown[];
    readonly resources: readonly WaypointResource[];
    readonly problems: readonly { readonly resource: string; readonly reasons: readonly string[] }[];
  }> {
    return JSON.parse(await this.#ask(name, 'http://127.0.0.1:15000/config_dump')) as Awaited<
      ReturnType<WaypointLab['configDump']>
    >;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.lab[Symbol.asyncDispose]();
  }
}

/** Only a waypoint adds this header to what the application gets. */
export function throughWaypoint(call: Call): boolean {
  return call.status === 200 && 'x-request-id' in seen(call).headers;
}

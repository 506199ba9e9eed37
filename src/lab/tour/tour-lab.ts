// What the steps of the tour do with the lab: calls from pods, logs since a moment, rules in a pod. Every helper
// fails with a sentence that says what was expected and what was seen.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { namespaces, pods, type KubeClient, type Pod } from '#/kube/index.ts';
import { addressPlan } from '../address-plan.ts';
import { inNetns, must } from '../command.ts';
import { execInPod, podNetns, type PodTarget } from '../exec-in-pod.ts';
import { findPods, logFiles, runFolders } from '../find-pod.ts';
import { nodePaths, type LabPaths } from '../paths.ts';

/** A check of the tour did not hold. */
export class TourError extends Error {
  override readonly name = 'TourError';
}

export function expectThat(holds: boolean, message: string): asserts holds {
  if (!holds) throw new TourError(message);
}

/** What httpbin's /get answers. */
export interface Answer {
  readonly origin: string;
  readonly pod: string;
}

export interface Call {
  /** curl's exit code. */
  readonly code: number;
  readonly answer: Answer | undefined;
  readonly client: Pod;
  /** What curl said when it failed. */
  readonly complaint: string;
}

export interface LogMark {
  readonly ends: ReadonlyMap<string, number>;
}

/** Programs whose logs the tour reads. */
const programs = {
  ztunnel: { namespace: 'istio-system', target: 'ds/ztunnel' },
  'istio-cni-node': { namespace: 'istio-system', target: 'ds/istio-cni-node' },
  waypoint: { namespace: 'bookinfo', target: 'deploy/waypoint' },
} as const;
export type LoggedProgram = keyof typeof programs;

export const meshLabel = 'istio.io/dataplane-mode';
export const redirection = 'ambient.istio.io/redirection';

/** For an answer: a machine whose disk is busy may hold a program up for seconds. */
const patienceSeconds = '20';

export class TourLab {
  readonly paths: LabPaths;
  readonly client: KubeClient;
  /** Every answer with the client that asked, for the step that compares addresses. */
  readonly seen: { readonly client: Pod; readonly answer: Answer; readonly how: string }[] = [];

  constructor(paths: LabPaths, client: KubeClient) {
    this.paths = paths;
    this.client = client;
  }

  nodeNetns(node: string): string {
    return nodePaths(this.paths, node).netns;
  }

  nodes(): readonly string[] {
    return addressPlan(3, ['IPv4']).nodes.map(({ name }) => name);
  }

  async call(from: PodTarget, url: string, how: string): Promise<Call> {
    const result = await execInPod(this.paths, from, ['curl', '-sS', '-m', patienceSeconds, url]);
    let answer: Answer | undefined;
    try {
      answer = JSON.parse(result.stdout) as Answer;
    } catch {
      answer = undefined;
    }
    if (result.code === 0 && answer !== undefined) this.seen.push({ client: result.pod, answer, how });
    return { code: result.code, answer, client: result.pod, complaint: result.stderr.trim() };
  }

  /** Calls until a replica on `node` answers: the choice among replicas is random. */
  async callUntil(from: PodTarget, url: string, node: string, how: string): Promise<Call> {
    let last: Call | undefined;
    for (let i = 0; i < 40; i++) {
      last = await this.call(from, url, how);
      expectThat(last.code === 0, `${url} from ${last.client.metadata.name} failed: ${last.complaint}`);
      if ((await this.nodeOf(last.answer?.pod ?? '')) === node) return last;
    }
    throw new TourError(`after 40 calls no replica on ${node} has answered ${url}`);
  }

  async nodeOf(pod: string): Promise<string | undefined> {
    const found = await this.client.find(pods, 'ambient-demo', pod);
    return found?.spec.nodeName;
  }

  #logs(what: LoggedProgram): { node: string; file: string }[] {
    const { namespace, target } = programs[what];
    let found: ReturnType<typeof findPods>;
    try {
      found = findPods(this.paths, namespace, target);
    } catch {
      // There is no such pod: not yet, or not any more.
      return [];
    }
    return found.flatMap((stored) => {
      const name = stored.pod.spec.containers[0]?.name ?? '';
      const run = runFolders(join(stored.dir, 'containers', name)).at(-1);
      const file = run === undefined ? undefined : logFiles(run, 'log').at(-1);
      return file === undefined ? [] : [{ node: stored.pod.spec.nodeName ?? '', file }];
    });
  }

  /** What the proxies said last, for a check that did not hold. */
  lastWords(): { node: string; line: string }[] {
    return [...this.#logs('ztunnel'), ...this.#logs('waypoint')].flatMap(({ node, file }) =>
      readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .slice(-12)
        .map((line) => ({ node, line })),
    );
  }

  /** Remembers where the logs end now. */
  mark(): LogMark {
    const files = (Object.keys(programs) as LoggedProgram[]).flatMap((what) => this.#logs(what));
    return { ends: new Map(files.map(({ file }) => [file, statSync(file).size])) };
  }

  /** The lines that were added since, with their node. */
  since(mark: LogMark, what: LoggedProgram): { node: string; line: string }[] {
    return this.#logs(what).flatMap(({ node, file }) =>
      readFileSync(file)
        .subarray(mark.ends.get(file) ?? 0)
        .toString('utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => ({ node, line })),
    );
  }

  /** Waits until `pick` finds lines among those added since: logs are written a moment after the fact. */
  async linesSince<T>(
    mark: LogMark,
    what: LoggedProgram,
    expected: string,
    pick: (lines: readonly { node: string; line: string }[]) => T | undefined,
    timeoutMs = 10_000,
  ): Promise<T> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const lines = this.since(mark, what);
      const found = pick(lines);
      if (found !== undefined) return found;
      if (Date.now() > until) {
        const last = lines.slice(-5).map(({ node, line }) => `  ${node}: ${line}`);
        throw new TourError(
          `the log of ${what} should have ${expected}; its last lines since then:\n${last.join('\n') || '  (none)'}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async label(namespace: string, value: string | null): Promise<void> {
    await this.client.patch(
      namespaces,
      undefined,
      namespace,
      { metadata: { labels: { [meshLabel]: value } } },
      'merge',
    );
  }

  /** Waits until the agent has enrolled every pod of the namespace that it may, or none. */
  async enrolled(namespace: string, wanted: boolean, timeoutMs = 30_000): Promise<readonly Pod[]> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const { items } = await this.client.list(pods, { namespace });
      const wrong = items.filter((pod) => (pod.metadata.annotations?.[redirection] === 'enabled') !== wanted);
      if (wrong.length === 0) return items;
      if (Date.now() > until)
        throw new TourError(
          `after ${timeoutMs / 1000} s these pods should ${wanted ? '' : 'not '}have the annotation ${redirection}=enabled: ` +
            wrong
              .map((pod) => `${pod.metadata.name} (${pod.metadata.annotations?.[redirection] ?? 'absent'})`)
              .join(', '),
        );
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** The redirection rules in a pod, as iptables-save prints them. */
  async rules(pod: Pod, command = 'iptables-save'): Promise<string[]> {
    const text = await must(inNetns(podNetns(this.paths, pod), [command]));
    return text.split('\n').filter((line) => line.includes('ISTIO') || line.startsWith('*'));
  }
}

/** `key=value` and `key="value"` of an access-log line. */
export function logFields(line: string): Record<string, string> {
  const fields: Record<string, string> = {};
  const text = line.split('\t').at(-1) ?? '';
  for (const match of text.matchAll(/([a-z_.]+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))/g))
    fields[match[1] as string] = match[2] ?? match[3] ?? '';
  return fields;
}

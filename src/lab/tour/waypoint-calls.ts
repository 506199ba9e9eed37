// What the steps of the tour's second part do: requests to the book shop, manifests, the waypoint's log, `aura`.
import { readFileSync } from 'node:fs';
import { applyManifests, parseManifests } from '../apply-manifests.ts';
import { must } from '../command.ts';
import { execInPod } from '../exec-in-pod.ts';
import { waitForWorkloads } from '../wait-workloads.ts';
import { expectThat, logFields, TourError, type LogMark, type TourLab } from './tour-lab.ts';
import type { TourContext } from './tour-steps.ts';

export interface WaypointContext extends TourContext {
  /** Path of the `aura` command. */
  readonly aura: string;
}

export const shop = 'bookinfo';
const curl = { namespace: shop, name: 'deploy/curl' } as const;
const manager = 'aura-demo';
/** For what was applied to be in force; far more than it takes, as machines are busy. */
const patienceMs = 20_000;

export interface Served {
  readonly status: number;
  /** `reviews-v1`; empty if no application answered. */
  readonly by: string;
}

const format = '%{http_code} %header{x-served-by}\\n';
const served = (line: string): Served => {
  const [status = '0', , by = ''] = line.split(' ');
  return { status: Number(status), by };
};

const headerArgs = (headers: Readonly<Record<string, string>>): string[] =>
  Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);

/** What fails is status 0: the caller knows whether that may be. */
async function curlIn(lab: TourLab, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await execInPod(
    lab.paths,
    curl,
    ['curl', '-sS', '-m', '20', ...args],
    60_000,
  );
  return code === 0 ? stdout : `${stderr.trim()}${stdout}`;
}

/** One request. */
export async function ask(
  lab: TourLab,
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Served & { readonly body: string }> {
  const out = await curlIn(lab, ['--path-as-is', '-w', `\n${format}`, ...headerArgs(headers), url]);
  const lines = out.trimEnd().split('\n');
  return { ...served(lines.pop() ?? ''), body: lines.join('\n') };
}

/** So many requests over one connection. */
export async function askMany(
  lab: TourLab,
  url: string,
  count: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<readonly Served[]> {
  const args = ['-o', '/dev/null', '-w', format, ...headerArgs(headers), `${url}?[1-${count}]`];
  const lines = (await curlIn(lab, args)).split('\n');
  const answers = lines.filter((line) => /^\d{3} /.test(line)).map(served);
  expectThat(
    answers.length === count,
    `${count} requests should have as many answers, not ${answers.length}`,
  );
  return answers;
}

/** `reviews-v1: 91, reviews-v3: 9`. */
export function tally(answers: readonly Served[]): string {
  const counts = new Map<string, number>();
  for (const { by, status } of answers) {
    const key = by === '' ? `status ${status}` : status === 200 ? by : `${by} with ${status}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, count]) => `${key}: ${count}`)
    .join(', ');
}

/** Repeats `look` until `holds`: what is applied is in force a moment later. Throws TourError with what was seen last. */
export async function until<T>(
  expected: string,
  look: () => Promise<T>,
  holds: (seen: T) => boolean,
): Promise<T> {
  const end = Date.now() + patienceMs;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (Date.now() > end)
      throw new TourError(
        `${expected}, but after ${patienceMs / 1000} s it is still ${JSON.stringify(seen).slice(0, 400)}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A manifest of the tour, with `values` put in the place of their names; then waits for its workloads. */
export async function applyFile(
  { lab, tell, samples }: WaypointContext,
  file: string,
  values: Readonly<Record<string, string>> = {},
): Promise<void> {
  const path = `${samples}/tour/waypoint/${file}`;
  tell.command(`kubectl apply -f samples/tour/waypoint/${file}`);
  let text = readFileSync(path, 'utf8');
  for (const [name, value] of Object.entries(values)) text = text.replaceAll(`'${name}'`, `'${value}'`);
  const applied = await applyManifests(lab.client, parseManifests(text, path), manager);
  await waitForWorkloads(lab.client, applied, () => {});
}

/** Runs `aura` as a user would, and shows what it says. */
export async function runAura({ lab, tell, aura }: WaypointContext, ...args: string[]): Promise<void> {
  tell.command(`aura ${args.join(' ')}`);
  const out = await must([aura, ...args], {
    env: { KUBECONFIG: lab.paths.kubeconfig, AURA_HOME: lab.paths.home },
    timeoutMs: 120_000,
  });
  for (const line of out.trimEnd().split('\n')) tell.show(line);
}

export interface LogEntry {
  readonly line: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** Lines of requests, in the format of samples/tour/waypoint/access-log.yaml. */
export function requestLines(lines: readonly { readonly line: string }[]): LogEntry[] {
  return lines
    .filter(({ line }) => line.startsWith('['))
    .map(({ line }) => ({
      line,
      fields: {
        ...logFields(line),
        status: /" (\d{3}) /.exec(line)?.[1] ?? '',
        path: line.split(' ')[2] ?? '',
      },
    }));
}

/** The first line since `mark` of the waypoint's log that fits; it is also shown. */
export async function requestLine(
  { lab, tell }: WaypointContext,
  mark: LogMark,
  expected: string,
  fits: (entry: LogEntry) => boolean,
): Promise<LogEntry> {
  const found = await lab.linesSince(mark, 'waypoint', expected, (lines) => requestLines(lines).find(fits));
  tell.show(`waypoint: ${found.line}`);
  return found;
}

/** Lines of connections in ztunnel's log. */
export const connectionLines = (
  lines: readonly { readonly node: string; readonly line: string }[],
): (LogEntry & { readonly node: string })[] =>
  lines
    .filter(({ line }) => line.split('\t')[2] === 'access')
    .map(({ node, line }) => ({ node, line, fields: logFields(line) }));

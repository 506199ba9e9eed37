// `aura lab exec` and `aura lab logs`: into a pod, and what it said. They read the lab's folder, so they work when
// the API or the lab's own process is down.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import {
  attach,
  execArgv,
  findContainer,
  findPods,
  firstRunning,
  followLog,
  logFiles,
  readLabConfig,
  runFolders,
  tailOf,
  type LabPaths,
} from '#/lab/index.ts';

const programs: Readonly<Record<string, string>> = {
  ztunnel: 'ds/ztunnel',
  'cni-agent': 'ds/istio-cni-node',
  'control-plane': 'deploy/istiod',
};

interface ExecFlags {
  readonly namespace: string;
  readonly container?: string;
  readonly node?: string;
}

interface LogFlags {
  readonly namespace?: string;
  readonly node?: string;
  readonly container?: string;
  readonly follow?: boolean;
  readonly previous?: boolean;
  readonly tail?: string;
}

interface LogSource {
  readonly title: string;
  /** Oldest first; the last one is followed. */
  readonly files: readonly string[];
}

function checkLab(paths: LabPaths): void {
  if (readLabConfig(paths) === undefined)
    throw new Error(`there is no lab in ${paths.home}: 'aura lab up' makes one`);
}

async function exec(
  paths: LabPaths,
  target: string,
  command: readonly string[],
  flags: ExecFlags,
): Promise<void> {
  checkLab(paths);
  const found = findPods(paths, flags.namespace, target, flags.node);
  const { stored, container } = firstRunning(paths, found, flags.container);
  const { namespace, name } = stored.pod.metadata;
  if (container.target === undefined)
    throw new Error(
      `container ${container.name} of pod ${namespace}/${name} does not run: see 'aura lab logs pod/${name} -n ${namespace}'`,
    );
  process.exitCode = await attach(execArgv(container.target, command));
}

/** The log files that `what` means: a program of the mesh or of the lab, or pods. */
function sources(paths: LabPaths, what: string, flags: LogFlags): LogSource[] {
  if (what === 'lab') return [{ title: 'lab', files: logFiles(paths.home, 'supervisor.log') }];
  if (what === 'apiserver') return [runSource('apiserver', join(paths.home, 'apiserver'), flags)];
  const own = programs[what];
  if (own === undefined && !what.includes('/'))
    throw new Error(
      `"${what}": use ${Object.keys(programs).join(', ')}, apiserver, lab, pod/NAME or deploy/NAME`,
    );
  const namespace = own === undefined ? (flags.namespace ?? 'default') : 'istio-system';
  const found = findPods(paths, namespace, own ?? what, flags.node);
  found.sort((a, b) => ((a.pod.spec.nodeName ?? '') < (b.pod.spec.nodeName ?? '') ? -1 : 1));
  return found.map((stored) => {
    const container = findContainer(paths, stored, flags.container);
    const title = `${stored.pod.metadata.name} on ${stored.pod.spec.nodeName}`;
    return runSource(title, join(stored.dir, 'containers', container.name), flags);
  });
}

function runSource(title: string, folder: string, flags: LogFlags): LogSource {
  const run = runFolders(folder).at(flags.previous === true ? -2 : -1);
  if (run === undefined) {
    if (flags.previous === true) throw new Error(`${title}: there is no earlier run`);
    return { title, files: [] };
  }
  return { title, files: logFiles(run, 'log') };
}

async function logs(paths: LabPaths, what: string, flags: LogFlags): Promise<void> {
  checkLab(paths);
  const tail = flags.tail === undefined ? undefined : Number(flags.tail);
  if (tail !== undefined && !(Number.isInteger(tail) && tail >= 0))
    throw new Error(`--tail ${flags.tail}: a number of lines`);
  const all = sources(paths, what, flags);
  const abort = new AbortController();
  process.once('SIGINT', () => abort.abort());
  process.once('SIGTERM', () => abort.abort());
  process.stdout.on('error', () => abort.abort());
  const following: Promise<void>[] = [];
  for (const { title, files } of all) {
    if (all.length > 1) process.stderr.write(`==> ${title} <==\n`);
    const newest = files.at(-1);
    if (newest === undefined) continue;
    if (tail === undefined) for (const file of files.slice(0, -1)) process.stdout.write(readFileSync(file));
    const { text, end } = tailOf(newest, tail);
    process.stdout.write(text);
    if (flags.follow === true)
      following.push(followLog(newest, end, (chunk) => void process.stdout.write(chunk), abort.signal));
  }
  await Promise.all(following);
}

export function registerLabAccess(lab: Command, thisLab: () => LabPaths): void {
  lab
    .command('exec')
    .description('run a command in a pod: aura lab exec [-n NS] POD|deploy/NAME -- CMD...')
    .argument('<target>', 'POD, pod/POD, deploy/NAME, ds/NAME, sts/NAME or job/NAME')
    .argument('<command...>', 'the command, after --')
    .option('-n, --namespace <name>', 'namespace of the pod', 'default')
    .option('-c, --container <name>', 'container, if not the first one')
    .option('--node <name>', "only the target's pod on this node")
    .action((target: string, command: string[], flags: ExecFlags) => exec(thisLab(), target, command, flags));
  lab
    .command('logs')
    .description('ztunnel, cni-agent, control-plane, apiserver, lab, pod/NAME or deploy/NAME')
    .argument('<what>', 'whose log')
    .option('-n, --namespace <name>', 'namespace of the pod (default)')
    .option('--node <name>', 'only from this node')
    .option('-c, --container <name>', 'container, if not the first one')
    .option('-f, --follow', 'go on with what is added')
    .option('-p, --previous', 'of the run before the current one')
    .option('--tail <lines>', 'only the last lines')
    .action((what: string, flags: LogFlags) => logs(thisLab(), what, flags));
}

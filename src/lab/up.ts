// `aura lab up`: from nothing, or from whatever an earlier one left, to a running lab. Every step looks first, so a
// second `up` repairs and otherwise changes nothing.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { addressPlan } from './address-plan.ts';
import { cgroupRoot, isPopulated, killCgroup, makeCgroup } from './cgroups.ts';
import { shellQuote, toolPath } from './command.ts';
import { mergeRequest, type LabConfig, type LabRequest } from './lab-config.ts';
import { claimHome, readLabConfig, takeLock, writeLabConfig } from './lab-state.ts';
import { askStatus, type LabStatus } from './lab-status.ts';
import { isMounted } from './mounts.ts';
import { ensureNetwork } from './network.ts';
import type { LabPaths } from './paths.ts';
import { checkMachine } from './preflight.ts';
import { freePort } from './relay.ts';
import { rotateLog } from './kubelet/kubelet.ts';

export interface UpOptions {
  readonly paths: LabPaths;
  readonly request: LabRequest;
  readonly aura: string;
  /** A line per step that takes more than a moment. */
  readonly progress: (text: string) => void;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** The log of the lab's process at the end of a failure. */
const logTail = (path: string, lines: number): string => {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
};

export const supervisorCgroup = (paths: LabPaths): string => join(cgroupRoot(), paths.cgroup, 'supervisor');

/** Exit code by which the lab's process says that starting it again would not help. */
export const hopeless = 78;

/** Starts the lab's process under a shell that starts it again when it is killed. */
export function startSupervisor(paths: LabPaths, aura: string): void {
  const cgroup = supervisorCgroup(paths);
  makeCgroup(cgroup);
  rotateLog(paths.supervisorLog, 10 << 20);
  const log = openSync(paths.supervisorLog, 'a');
  const command = `${shellQuote(aura)} lab-supervisor --home ${shellQuote(paths.home)}`;
  const script =
    `echo $$ > ${shellQuote(`${cgroup}/cgroup.procs`)} || exit 1\n` +
    `while :; do ${command}; code=$?; [ $code -eq ${hopeless} ] && exit $code; sleep 0.3; done`;
  const child = spawn('/bin/sh', ['-c', script], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { PATH: toolPath, HOME: process.env['HOME'] ?? '/root' },
  });
  child.unref();
  closeSync(log);
}

const nodesText = ({ nodes }: LabConfig): string => (nodes === 1 ? 'one node' : `${nodes} nodes`);

/** What is not ready yet, for people. */
export function pendingText(status: LabStatus): string {
  if (status.phase !== 'ready') return status.message;
  const nodes = status.nodes.filter(({ ready }) => !ready).map(({ name }) => `node ${name}`);
  const components = status.components
    .filter(({ ready }) => !ready)
    .map(({ name, message }) => `${name} (${message})`);
  return [...nodes, ...components].join(', ');
}

/** Resolves when the lab runs. Throws an Error that says what is missing and where to look. */
export async function labUp(options: UpOptions): Promise<LabConfig> {
  const { paths, request, aura, progress } = options;
  await checkMachine();
  if (request.mesh?.ztunnel !== undefined) checkExecutable(request.mesh.ztunnel);
  claimHome(paths);
  using _lock = takeLock(paths, 'up');
  const existing = readLabConfig(paths);
  const config = mergeRequest(existing, request, existing?.apiPort ?? (await freePort()));
  // Before the first namespace: from here on, `down` knows that there is something to take away.
  const changed = JSON.stringify(existing) !== JSON.stringify(config);
  writeLabConfig(paths, config);
  mkdirSync(paths.podsDir, { recursive: true });
  makeCgroup(join(cgroupRoot(), paths.cgroup));
  const plan = addressPlan(config.nodes, config.families);
  if (!isMounted(paths.run, 'tmpfs'))
    progress(`making ${nodesText(config)} in network namespaces (lab ${paths.id}, ${paths.home})`);
  await ensureNetwork(paths, plan);
  const running = isPopulated(supervisorCgroup(paths)) ? await askStatus(paths.supervisorSocket) : undefined;
  if (running === undefined || changed) await restartSupervisor(paths, aura);
  await waitReady(options, changed);
  return config;
}

async function restartSupervisor(paths: LabPaths, aura: string): Promise<void> {
  const cgroup = supervisorCgroup(paths);
  killCgroup(cgroup);
  for (let i = 0; i < 200 && isPopulated(cgroup); i++) await new Promise((r) => setTimeout(r, 10));
  rmSync(paths.supervisorSocket, { force: true });
  startSupervisor(paths, aura);
}

function checkExecutable(path: string): void {
  try {
    const stat = statSync(path);
    if (stat.isFile() && (stat.mode & 0o111) !== 0) return;
  } catch {
    // Said below.
  }
  throw new Error(`--ztunnel ${path}: not an executable file`);
}

async function waitReady(options: UpOptions, changed: boolean): Promise<void> {
  const { paths, progress, timeoutMs = 180_000, signal } = options;
  const started = Date.now();
  let said = '';
  let saidAt = started;
  let readySince: number | undefined;
  let failedSince: number | undefined;
  for (;;) {
    signal?.throwIfAborted();
    const status = await askStatus(paths.supervisorSocket);
    const pending = status === undefined ? "starting the lab's process" : pendingText(status);
    // One failure may be a moment's; the same one again is not.
    if (status?.phase === 'failed') {
      failedSince ??= Date.now();
      if (Date.now() - failedSince > 5000) throw new Error(status.message);
    } else if (status?.phase === 'ready') failedSince = undefined;
    if (pending === '') {
      // After a change of options the old rollout still looks complete for a moment.
      readySince ??= Date.now();
      if (!changed || Date.now() - readySince > 300) return;
    } else readySince = undefined;
    if (Date.now() - started > 2000 && !isPopulated(supervisorCgroup(paths)))
      throw new Error(`the lab's process ended:\n${logTail(paths.supervisorLog, 5)}`);
    if (Date.now() - started > timeoutMs)
      throw new Error(
        `the lab is not ready after ${Math.round(timeoutMs / 1000)} s, it waits for: ${pending}; ` +
          `see 'aura lab status', 'aura lab logs' and ${paths.supervisorLog}`,
      );
    const now = Date.now();
    if (pending !== said && pending !== '' && now - saidAt > 700) {
      progress(pending);
      said = pending;
      saidAt = now;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

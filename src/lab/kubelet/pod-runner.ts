// The runner of one container of a pod: its folder, cgroup, restart policy, probes and the events about it.
import { join } from 'node:path';
import type { Container, Pod } from '#/kube/index.ts';
import { run } from '../command.ts';
import { execArgv } from '../runtime/exec.ts';
import { ContainerRunner } from './container-runner.ts';
import type { KubeletContext, PodPlaces } from './kubelet-context.ts';
import { isSidecar } from './pod-status.ts';
import { runProbe } from './probe.ts';

export interface PodRunnerOptions {
  readonly context: KubeletContext;
  readonly places: PodPlaces;
  readonly pod: Pod;
  readonly spec: Container;
  /** The pod's first address, once it has one. */
  readonly podIp: () => string | undefined;
  readonly event: (type: 'Normal' | 'Warning', reason: string, message: string) => void;
  readonly onChange: () => void;
}

export function podRunner(options: PodRunnerOptions): ContainerRunner {
  const { context, places, pod, spec, event } = options;
  const init = pod.spec.initContainers?.includes(spec) === true;
  const policy = pod.spec.restartPolicy ?? 'Always';
  const known = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].find(
    ({ name }) => name === spec.name,
  );
  let told: unknown;
  const runner: ContainerRunner = new ContainerRunner({
    spec,
    dir: join(places.dir, 'containers', spec.name),
    cgroup: join(places.cgroup, spec.name),
    wasReady: known?.ready === true,
    // An init container has to succeed once; a sidecar has to go on.
    restartPolicy: isSidecar(spec) ? 'Always' : init && policy === 'Always' ? 'OnFailure' : policy,
    onChange: () => {
      const { state } = runner;
      if (state !== told) {
        told = state;
        if (state?.kind === 'running') event('Normal', 'Started', `Started container ${spec.name}`);
        if (state?.kind === 'failed')
          event('Warning', 'Failed', `container ${spec.name} was not started: ${state.message}`);
      }
      options.onChange();
    },
    onUnhealthy: (kind, message) =>
      event('Warning', 'Unhealthy', `${kind} probe failed for container ${spec.name}: ${message}`),
    ask: (probe, timeoutMs) =>
      runProbe(
        probe,
        spec,
        {
          podIp: options.podIp() ?? '127.0.0.1',
          nodeNetns: places.node.netns,
          connect: (ip, port) => context.kernel.connect({ netns: context.netns, ip, port }),
          exec: (argv, limit) => execInContainer(runner, argv, limit),
        },
        timeoutMs,
      ),
  });
  return runner;
}

/** Runs a command in the container, for probes and hooks. */
export async function execInContainer(
  runner: ContainerRunner,
  argv: readonly string[],
  timeoutMs: number,
): Promise<{ code: number; output: string }> {
  const { state } = runner;
  if (state?.kind !== 'running') return { code: 1, output: 'the container does not run' };
  const result = await run(execArgv({ pid: state.pid, cgroup: runner.cgroup }, argv), { timeoutMs });
  return { code: result.code, output: `${result.stdout}${result.stderr}` };
}

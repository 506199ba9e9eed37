// The tour from an empty machine to an empty machine.
import { KubeClient } from '#/kube/index.ts';
import { applyManifests, readManifests } from '../apply-manifests.ts';
import { labDown, leftovers } from '../down.ts';
import { readLabConfig } from '../lab-state.ts';
import type { LabPaths } from '../paths.ts';
import { labUp } from '../up.ts';
import { waitForWorkloads } from '../wait-workloads.ts';
import { expectThat, TourError, TourLab } from './tour-lab.ts';
import { tourSteps, type Narrator, type TourSteps } from './tour-steps.ts';
import type { WaypointContext } from './waypoint-calls.ts';
import { waypointSteps } from './waypoint-steps.ts';

/** What is played, and on which samples. */
const parts = {
  mesh: {
    first: 'ambient-demo.yaml',
    files: ['tour/clients.yaml'],
    steps: tourSteps,
  },
  waypoint: {
    first: 'bookinfo.yaml',
    files: ['tour/waypoint/httpbin.yaml'],
    steps: waypointSteps,
  },
} as const satisfies Record<
  string,
  { readonly first: string; readonly files: readonly string[]; readonly steps: TourSteps<WaypointContext> }
>;
export type TourPart = keyof typeof parts;

export interface TourOptions {
  /** mesh: redirection, tunnels, L4 policy. waypoint: routes and policies of requests. Absent: mesh. */
  readonly part?: TourPart;
  readonly paths: LabPaths;
  readonly aura: string;
  readonly samples: string;
  readonly tell: Narrator;
  /** Aborted: the tour ends at the next moment that allows it, and the lab is taken down. */
  readonly signal: AbortSignal;
}

/** Plays everything, and takes the lab down however it ends. Throws TourError if a check does not hold. */
export async function playTour(options: TourOptions): Promise<void> {
  const { part = 'mesh', paths, aura, samples, tell, signal } = options;
  const { first, files, steps } = parts[part];
  const existing = readLabConfig(paths);
  if (existing !== undefined && existing.purpose !== 'demo')
    throw new Error(
      `there is a lab in ${paths.home}, and the tour would take it down: set AURA_HOME to another folder, or run 'aura lab down' first`,
    );
  // What a tour that was killed has left.
  if (existing !== undefined) await labDown({ paths, progress: () => {} });
  // Whatever is under way when the signal comes is given up; its outcome no longer matters.
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  aborted.catch(() => {});
  const orAbort = <T>(work: Promise<T>): Promise<T> => Promise.race([work, aborted]);
  try {
    signal.throwIfAborted();
    tell.step(0, 'The lab: three nodes in network namespaces, a Kubernetes API, the mesh');
    tell.command(`aura lab up -f samples/${first}`);
    // Ends by itself when the signal comes, and gives the lab's lock back.
    await labUp({
      paths,
      aura,
      request: { purpose: 'demo' },
      progress: (text) => tell.show(text),
      signal,
    });
    using client = KubeClient.fromKubeconfig(paths.kubeconfig, { userAgent: 'aura-demo' });
    const manifests = readManifests([first, ...files].map((file) => `${samples}/${file}`));
    const applied = await orAbort(applyManifests(client, manifests, 'aura-demo'));
    await orAbort(waitForWorkloads(client, applied, (text) => tell.show(text)));
    const context: WaypointContext = { lab: new TourLab(paths, client), tell, samples, aura };
    for (const { play } of steps)
      await orAbort(Promise.resolve(play(context))).catch((error: unknown) => {
        if (error instanceof TourError) {
          tell.say('That should not be. What the proxies said last:');
          for (const { node, line } of context.lab.lastWords()) tell.show(`${node}: ${line}`);
        }
        throw error;
      });
  } finally {
    tell.say('');
    tell.command('aura lab down');
    await labDown({ paths, progress: () => {} });
    const left = await leftovers(paths);
    if (left.length > 0) tell.show(`left behind: ${left.join(', ')}`);
    expectThat(left.length === 0, `nothing should be left of the lab, but there is: ${left.join(', ')}`);
    tell.show('no namespace, link, rule, mount or process of the lab is left');
  }
}

// What `aura waypoint` does through the Kubernetes API. It talks to nobody else.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock } from '#/kit/index.ts';
import {
  gateways,
  isNotFound,
  KubeError,
  namespaces,
  type KubeClient,
  type KubeObject,
  type Resource,
} from '#/kube/index.ts';
import {
  condition,
  inOrder,
  isProgrammed,
  isWaypoint,
  useWaypoint,
  useWaypointNamespace,
  waypointGateway,
  type WaypointGateway,
  type WaypointWish,
} from './waypoint-gateway.ts';

/** Writes whole lines. */
export interface Out {
  say(line: string): void;
  warn(line: string): void;
}

export interface Waiting {
  readonly timeoutMs: number;
  readonly clock?: Clock;
}

const resource = gateways as Resource<KubeObject> as Resource<WaypointGateway>;
const manager = 'istioctl';
const pollMs = 500;

const missingKind = (error: unknown, doing: string): Error =>
  new Error(
    `missing Kubernetes Gateway CRDs need to be installed before ${doing}: ${errorText(error)}; they are in https://github.com/kubernetes-sigs/gateway-api/releases`,
    { cause: error },
  );

/** All of one namespace, or of all; in order. Throws Error if the cluster does not have the Gateway API. */
export async function findWaypoints(
  client: KubeClient,
  namespace: string | undefined,
  labelSelector?: string,
): Promise<readonly WaypointGateway[]> {
  try {
    const { items } = await client.listAll(resource, { namespace, labelSelector });
    return inOrder(items.filter(isWaypoint));
  } catch (error) {
    if (isNotFound(error)) throw missingKind(error, 'there are waypoints');
    throw error;
  }
}

async function namespaceLabels(client: KubeClient, name: string): Promise<Readonly<Record<string, string>>> {
  const found = await client.find(namespaces, undefined, name);
  if (found === undefined)
    throw new Error(`namespace: ${name} not found; create it, or name another one with -n`);
  return found.metadata.labels ?? {};
}

/** Resolves when it is Programmed. Throws Error that says what it waits for. */
async function waitFor(
  client: KubeClient,
  namespace: string,
  name: string,
  { timeoutMs, clock = systemClock }: Waiting,
): Promise<WaypointGateway> {
  const end = clock.now() + timeoutMs;
  for (;;) {
    const found = await client.find(resource, namespace, name);
    if (found === undefined)
      throw new Error(`waypoint ${namespace}/${name} was deleted while it was waited for`);
    if (isProgrammed(found)) return found;
    if (clock.now() >= end) throw new WaitError(found);
    await clock.sleep(pollMs);
  }
}

export class WaitError extends Error {
  override readonly name = 'WaitError';

  constructor(gateway: WaypointGateway) {
    const { namespace, name } = gateway.metadata;
    const why = ['Accepted', 'Programmed']
      .map((type) => condition(gateway, type))
      .find((one) => one !== undefined && one.status !== 'True');
    const told =
      why === undefined || why.status === 'Unknown'
        ? 'no control plane has looked at it: see that one runs for its revision'
        : `${why.message || why.reason}; see the pods with the label gateway.networking.k8s.io/gateway-name=${name}`;
    super(`timed out while waiting for waypoint ${namespace}/${name}: ${told}`);
  }
}

export interface ApplyOptions extends WaypointWish {
  readonly enroll: boolean;
  readonly overwrite: boolean;
  /** Absent: it is not waited for. */
  readonly wait?: Waiting;
}

export async function applyWaypoint(
  client: KubeClient,
  namespace: string,
  options: ApplyOptions,
  out: Out,
): Promise<void> {
  const gateway = waypointGateway(options, namespace);
  const { name } = gateway.metadata;
  const labels = await namespaceLabels(client, namespace);
  if (options.enroll) {
    const enrolled = labels[useWaypoint] ?? '';
    const same = enrolled === name && (labels[useWaypointNamespace] ?? namespace) === namespace;
    if (enrolled !== '' && !same && !options.overwrite) {
      out.say(
        `⚠️ Warning: namespace (${namespace}) already has an enrolled Waypoint. Consider adding the \`--overwrite\` flag to your apply command.`,
      );
      return;
    }
    if (labels['istio.io/dataplane-mode'] !== 'ambient')
      out.say(
        `⚠️ Warning: namespace is not enrolled in ambient. Consider running\t\`kubectl label namespace ${namespace} istio.io/dataplane-mode=ambient\``,
      );
  }
  await applyGateway(client, namespace, name, gateway);
  out.say(`✅ waypoint ${namespace}/${name} applied`);
  if (options.wait !== undefined) {
    await waitFor(client, namespace, name, options.wait);
    out.say(`✅ waypoint ${namespace}/${name} is ready!`);
  }
  if (!options.enroll) return;
  // A label that leads to another namespace's waypoint goes with the old enrolment.
  const use = {
    [useWaypoint]: name,
    ...(labels[useWaypointNamespace] === undefined ? {} : { [useWaypointNamespace]: null }),
  };
  await client.patch(namespaces, undefined, namespace, { metadata: { labels: use } }, 'merge', {
    fieldManager: manager,
  });
  out.say(`✅ namespace ${namespace} labeled with "${useWaypoint}: ${name}"`);
}

async function applyGateway(
  client: KubeClient,
  namespace: string,
  name: string,
  gateway: WaypointGateway,
): Promise<void> {
  try {
    await client.patch(resource, namespace, name, gateway, 'apply', { fieldManager: manager });
  } catch (error) {
    if (isNotFound(error)) throw missingKind(error, 'applying a waypoint');
    if (error instanceof KubeError && error.code === 409)
      throw new Error(
        `Gateway ${namespace}/${name} has fields that somebody else has set: ${errorText(error)}; change it there, or choose another name with --name`,
        { cause: error },
      );
    throw error;
  }
}

/** With `wait`, when all are Programmed, or the time is over: then `failure` says of which. */
export async function watchStatus(
  client: KubeClient,
  namespace: string,
  wait: Waiting | undefined,
): Promise<{ readonly waypoints: readonly WaypointGateway[]; readonly failure?: WaitError }> {
  const found = await findWaypoints(client, namespace);
  if (wait === undefined) return { waypoints: found };
  const clock = wait.clock ?? systemClock;
  const end = clock.now() + wait.timeoutMs;
  let failure: WaitError | undefined;
  for (const { metadata } of found)
    try {
      await waitFor(client, namespace, metadata.name, { clock, timeoutMs: Math.max(0, end - clock.now()) });
    } catch (error) {
      if (!(error instanceof WaitError)) throw error;
      failure ??= error;
    }
  const waypoints = await findWaypoints(client, namespace);
  return failure === undefined ? { waypoints } : { waypoints, failure };
}

export interface DeleteOptions {
  readonly names: readonly string[];
  readonly all: boolean;
  readonly revision?: string;
}

export async function deleteWaypoints(
  client: KubeClient,
  namespace: string,
  { names, all, revision = '' }: DeleteOptions,
  out: Out,
): Promise<void> {
  const many = all || revision !== '';
  if (many && names.length > 0)
    throw new Error(
      'cannot specify waypoint names when deleting all waypoints: leave out names, --all and --revision, or all but one',
    );
  if (!many && names.length === 0)
    throw new Error(
      'must specify a waypoint name or delete all using --all or delete specific revision using --revision',
    );
  const found = await findWaypoints(
    client,
    namespace,
    revision === '' ? undefined : `istio.io/rev=${revision}`,
  );
  const there = found.map(({ metadata }) => metadata.name);
  const failures: string[] = [];
  const deleted: string[] = [];
  for (const name of many ? there : names) {
    try {
      if (there.includes(name) && (await client.delete(resource, namespace, name))) {
        out.say(`waypoint ${namespace}/${name} deleted`);
        deleted.push(name);
      } else out.say(`waypoint ${namespace}/${name} not found`);
    } catch (error) {
      failures.push(`waypoint ${namespace}/${name}: ${errorText(error)}`);
    }
  }
  await warnOfUsers(client, namespace, deleted, out);
  if (failures.length > 0) throw new Error(failures.join('; '));
}

/** Traffic to what names a waypoint that is gone is refused. */
async function warnOfUsers(
  client: KubeClient,
  namespace: string,
  names: readonly string[],
  out: Out,
): Promise<void> {
  if (names.length === 0) return;
  let all;
  try {
    all = await client.listAll(namespaces, { labelSelector: useWaypoint });
  } catch {
    // Only a hint; not everybody may list namespaces.
    return;
  }
  for (const { metadata } of all.items) {
    const name = metadata.labels?.[useWaypoint] ?? '';
    const where = metadata.labels?.[useWaypointNamespace] ?? metadata.name;
    if (where === namespace && names.includes(name))
      out.warn(
        `⚠️ Warning: namespace ${metadata.name} still uses waypoint ${namespace}/${name}: its traffic is refused until there is one again. Consider running\t\`kubectl label namespace ${metadata.name} ${useWaypoint}-\``,
      );
  }
}

// `aura waypoint`: Gateways of class istio-waypoint, made, listed, waited for and deleted; flags and lines are those of
// istioctl, since scripts read them.
import { InvalidArgumentError, type Command } from 'commander';
import { stringify } from 'yaml';
import { connect, connectionOptions, type SourceFlags } from './mesh-objects.ts';
import { outputOption, printReport, type OutputFlags } from './print-report.ts';
import { applyWaypoint, deleteWaypoints, findWaypoints, watchStatus, type Out } from './waypoint-actions.ts';
import {
  defaultName,
  listText,
  statusText,
  trafficTypes,
  waypointGateway,
  waypointRow,
  waypointStatus,
  type WaypointWish,
} from './waypoint-gateway.ts';

interface WaitFlags {
  readonly wait: boolean;
  readonly waypointTimeout: number;
}

interface ApplyFlags extends SourceFlags, WaypointWish, WaitFlags {
  readonly enrollNamespace?: boolean;
  readonly overwrite?: boolean;
}

const out: Out = {
  say: (line) => process.stdout.write(`${line}\n`),
  warn: (line) => process.stderr.write(`${line}\n`),
};

function milliseconds(text: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = [...text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== text)
    throw new InvalidArgumentError('a duration is written like 90s or 1m30s');
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (units[unit as string] as number), 0);
}

function boolean(text: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  throw new InvalidArgumentError('true or false');
}

const waitOptions = (command: Command, wait: boolean): Command =>
  command
    .option('-w, --wait [bool]', 'until the waypoint is ready', boolean, wait)
    .option('--waypoint-timeout <duration>', 'how long to wait', milliseconds, 90_000);

const wishOptions = (command: Command): Command =>
  command
    .option('--name <name>', 'of the waypoint', defaultName)
    .option('--for <type>', `which traffic it takes: ${trafficTypes.join(', ')} (service)`)
    .option('-r, --revision <revision>', 'of the control plane that looks after it');

const waiting = ({ wait, waypointTimeout }: WaitFlags) =>
  wait ? { wait: { timeoutMs: waypointTimeout } } : {};

function addApply(command: Command): void {
  waitOptions(wishOptions(connectionOptions(command.command('apply'))), false)
    .description('make a waypoint in a namespace, or change it')
    .option('--enroll-namespace', 'label the namespace, so that its services use the waypoint')
    .option('--overwrite', 'also if the namespace uses another one')
    .action(async (flags: ApplyFlags) => {
      using client = connect(flags, 'waypoint');
      const { enrollNamespace: enroll = false, overwrite = false } = flags;
      const options = { ...flags, enroll, overwrite };
      const { wait: _wait, ...rest } = options;
      await applyWaypoint(client, flags.namespace ?? client.namespace, { ...rest, ...waiting(flags) }, out);
    });
}

function addGenerate(command: Command): void {
  wishOptions(command.command('generate'))
    .description('print the Gateway of a waypoint as YAML')
    .option('-n, --namespace <name>', 'to write into it')
    .action((flags: WaypointWish & { readonly namespace?: string }) => {
      process.stdout.write(stringify(waypointGateway(flags, flags.namespace)));
    });
}

function addList(command: Command): void {
  outputOption(connectionOptions(command.command('list')))
    .description('the waypoints of a namespace, or of all')
    .option('-A, --all-namespaces', 'of all namespaces')
    .action(async (flags: SourceFlags & OutputFlags & { readonly allNamespaces?: boolean }) => {
      using client = connect(flags, 'waypoint');
      const all = flags.allNamespaces === true;
      const found = await findWaypoints(client, all ? undefined : (flags.namespace ?? client.namespace));
      const rows = found.map(waypointRow);
      printReport(rows, () => listText(rows, all), flags);
    });
}

function addStatus(command: Command): void {
  outputOption(waitOptions(connectionOptions(command.command('status')), true))
    .description("conditions of a namespace's waypoints, when they are ready or the time is over")
    .action(async (flags: SourceFlags & OutputFlags & WaitFlags) => {
      using client = connect(flags, 'waypoint');
      const namespace = flags.namespace ?? client.namespace;
      const { waypoints, failure } = await watchStatus(client, namespace, waiting(flags).wait);
      const statuses = waypoints.map(waypointStatus);
      printReport(statuses, () => statusText(statuses, flags.namespace === undefined), flags);
      if (failure !== undefined) throw failure;
    });
}

function addDelete(command: Command): void {
  connectionOptions(command.command('delete'))
    .description('remove waypoints by name, all of a namespace, or those of a revision')
    .argument('[name...]')
    .option('--all', 'all of the namespace')
    .option('-r, --revision <revision>', 'all of the namespace that are of this revision')
    .action(
      async (
        names: readonly string[],
        flags: SourceFlags & { readonly all?: boolean; readonly revision?: string },
      ) => {
        using client = connect(flags, 'waypoint');
        const { all = false, revision } = flags;
        const options = { names, all, ...(revision === undefined ? {} : { revision }) };
        await deleteWaypoints(client, flags.namespace ?? client.namespace, options, out);
      },
    );
}

export function registerWaypoint(program: Command): void {
  const command = program
    .command('waypoint')
    .description('make, list, wait for and remove waypoints')
    .addHelpText(
      'after',
      `
A waypoint is a Gateway of class istio-waypoint; the control plane makes its pods. Services use it when they, or their
namespace, have the label istio.io/use-waypoint.

Exit codes: 0; 1 not possible, or not ready in time.`,
    );
  for (const add of [addApply, addGenerate, addList, addStatus, addDelete]) add(command);
}

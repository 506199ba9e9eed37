// `aura describe pod|service`: what one object is to the mesh.
import type { Command } from 'commander';
import {
  describePod,
  describeService,
  descriptionText,
  MeshModel,
  parseTarget,
  type AnalysisInput,
  type Description,
} from '#/analysis/index.ts';
import { liveObjects } from './live-objects.ts';
import { askControlPlane, type MeshState } from './control-access.ts';
import {
  connect,
  enrolment,
  objectsOfFiles,
  settingsOf,
  sourceOptions,
  type Objects,
  type SourceFlags,
} from './mesh-objects.ts';
import { outputOption, printReport, type OutputFlags } from './print-report.ts';

type Flags = SourceFlags & OutputFlags;
type Describe = (model: MeshModel, namespace: string, name: string, input: AnalysisInput) => Description;

async function run(describe: Describe, name: string, flags: Flags): Promise<void> {
  let objects: Objects;
  let state: MeshState | undefined;
  let namespace = flags.namespace ?? 'default';
  if (flags.filename !== undefined) objects = objectsOfFiles(flags.filename, namespace);
  else {
    using client = connect(flags, 'describe');
    namespace = flags.namespace ?? client.namespace;
    objects = await liveObjects(client, true);
    state = await askControlPlane(client, flags.istioNamespace, objects.documents);
  }
  const model = new MeshModel({
    documents: objects.documents,
    settings: settingsOf(flags, state?.settings, objects.documents),
    enrolment,
    live: flags.filename === undefined,
  });
  const target = parseTarget(name, namespace);
  const description = describe(
    model,
    target.namespace,
    target.name,
    state?.kind === 'known' ? { proxies: state.proxies } : {},
  );
  if (state?.kind === 'unknown')
    process.stderr.write(`the state of the proxies is not known: ${state.reason}\n`);
  printReport(description, () => descriptionText(description), flags);
}

export function registerDescribe(program: Command): void {
  const command = program
    .command('describe')
    .description('what a pod or a service is to the mesh: identity, waypoint, policies, problems')
    .addHelpText('after', '\nExit codes: 0 described; 1 not possible.');
  const add = (kind: string, alias: string, summary: string, describe: Describe): void => {
    outputOption(
      sourceOptions(
        command.command(kind).alias(alias).description(summary).argument('<name>', 'NAME or NAMESPACE/NAME'),
      ),
    ).action((name: string, flags: Flags) => run(describe, name, flags));
  };
  add('pod', 'po', 'whether it is in the mesh and why, its identity, services and policies', describePod);
  add(
    'service',
    'svc',
    'its waypoint, ports, endpoints and policies; also of a ServiceEntry',
    describeService,
  );
}

// `aura analyze`: what is wrong with a mesh, in files or live.
import { Option, type Command } from 'commander';
import { analysisText, analyze, MeshModel, type Level } from '#/analysis/index.ts';
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

type Flags = SourceFlags &
  OutputFlags & {
    readonly allNamespaces?: boolean;
    readonly failOn: 'warn' | 'error' | 'never';
    readonly suppress?: readonly string[];
  };

const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];

const fails: Readonly<Record<Flags['failOn'], readonly Level[]>> = {
  error: ['error'],
  warn: ['error', 'warn'],
  never: [],
};

async function run(paths: readonly string[], flags: Flags): Promise<void> {
  const files = [...(flags.filename ?? []), ...paths];
  const live = files.length === 0;
  let objects: Objects;
  let state: MeshState | undefined;
  let namespace = flags.namespace;
  if (!live) objects = objectsOfFiles(files, flags.namespace ?? 'default');
  else {
    using client = connect(flags, 'analyze');
    namespace ??= client.namespace;
    objects = await liveObjects(client, true);
    state = await askControlPlane(client, flags.istioNamespace, objects.documents);
  }
  const model = new MeshModel({
    documents: objects.documents,
    settings: settingsOf(flags, state?.settings, objects.documents),
    enrolment,
    live,
  });
  // What is in a file is asked about; of a cluster, it is one's own namespace unless one says otherwise.
  const narrow =
    flags.allNamespaces === true || (!live && flags.namespace === undefined) ? undefined : namespace;
  const findings = analyze(model, {
    unreadable: objects.unreadable,
    missing: objects.missing,
    ...(state?.kind === 'known' ? { proxies: state.proxies } : {}),
    ...(narrow === undefined ? {} : { namespace: narrow }),
  }).filter(({ code }) => flags.suppress?.includes(code) !== true);
  if (state?.kind === 'unknown')
    process.stderr.write(`the state of the proxies is not known: ${state.reason}\n`);
  printReport(findings, () => analysisText(findings, objects.documents.length), flags);
  if (findings.some(({ level }) => fails[flags.failOn].includes(level))) process.exitCode = 79;
}

export function registerAnalyze(program: Command): void {
  outputOption(
    sourceOptions(
      program
        .command('analyze')
        .description('find mistakes in the objects of a mesh, in files or live')
        .argument('[files...]', 'as -f'),
    ),
  )
    .option('-A, --all-namespaces', 'of a cluster, findings of all namespaces')
    .option('-S, --suppress <code>', 'leave findings of this code out (repeatable)', collect)
    .addOption(
      new Option('--fail-on <level>', 'level from which on the exit code is 79')
        .choices(['warn', 'error', 'never'])
        .default('error'),
    )
    .addHelpText(
      'after',
      `
Codes, their meaning and the way out are listed in docs/analyze.md.

Exit codes: 0 nothing at or above --fail-on; 79 findings at or above it; 1 not possible.

Examples:
  aura analyze -f manifests/
  aura analyze -A --fail-on warn
  aura analyze -n demo -o json`,
    )
    .action(run);
}

// `aura explain`: what a connection would get, and why.
import type { Command } from 'commander';
import { explainNamed, explanationText, MeshModel } from '#/analysis/index.ts';
import {
  connect,
  enrolment,
  objectsOfFiles,
  settingsOf,
  sourceOptions,
  type Objects,
  type SourceFlags,
} from './mesh-objects.ts';
import { liveObjects } from './live-objects.ts';
import { askControlPlane, type MeshState } from './control-access.ts';
import { outputOption, printReport, type OutputFlags } from './print-report.ts';
import { requestOptions, requestOf, type RequestFlags } from './request-options.ts';

type Flags = SourceFlags & OutputFlags & RequestFlags & { readonly exitCode?: boolean };

async function run(from: string, to: string, flags: Flags): Promise<void> {
  const http = requestOf(flags);
  let objects: Objects;
  let state: MeshState | undefined;
  let namespace = flags.namespace ?? 'default';
  if (flags.filename !== undefined) objects = objectsOfFiles(flags.filename, namespace);
  else {
    using client = connect(flags, 'explain');
    namespace = flags.namespace ?? client.namespace;
    objects = await liveObjects(client, false);
    state = await askControlPlane(client, flags.istioNamespace, objects.documents);
  }
  for (const { file, line, reason } of objects.unreadable)
    process.stderr.write(`${file}:${line}: left out: ${reason}\n`);
  for (const reason of objects.missing) process.stderr.write(`not seen: ${reason}\n`);
  const model = new MeshModel({
    documents: objects.documents,
    settings: settingsOf(flags, state?.settings, objects.documents),
    enrolment,
    live: flags.filename === undefined,
  });
  const explanation = explainNamed(model, {
    from,
    to,
    namespace,
    ...(http === undefined ? {} : { http }),
    ...(state?.kind === 'known' ? { proxies: state.proxies } : {}),
    ...(state?.kind === 'unknown' ? { proxiesUnknown: state.reason } : {}),
  });
  printReport(explanation, () => explanationText(explanation), flags);
  if (flags.exitCode === true && explanation.verdict !== 'allowed') process.exitCode = 3;
}

export function registerExplain(program: Command): void {
  requestOptions(
    outputOption(
      sourceOptions(
        program
          .command('explain')
          .description('what a connection would get, hop by hop, and why')
          .argument('<source>', 'pod, workload or address: NAME, NAMESPACE/NAME, deploy/NAME, 10.0.0.1')
          .argument(
            '<destination:port>',
            'service, pod or address: NAME:80, NAMESPACE/NAME:http, name.namespace:80, pod/NAME:80, 10.0.0.1:80',
          ),
      ),
    ),
  )
    .option('--exit-code', 'exit with 3 unless the connection is allowed on every path')
    .addHelpText(
      'after',
      `
Plans are made by the functions that the proxies use, from the objects of the cluster, or from files alone (-f); then
what only a cluster can tell (addresses, readiness, capture) is assumed, and said so.

Exit codes: 0 explained, whatever the verdict; 1 not possible; 3 refused or depends, with --exit-code.

Examples:
  aura explain curl -n demo httpbin:80
  aura explain demo/curl other/api:http -o json
  aura explain curl reviews:80 --path /reviews/7 -H 'end-user: jason'
  aura explain -f manifests/ deploy/curl httpbin:80 --exit-code`,
    )
    .action(run);
}

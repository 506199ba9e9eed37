// One folder per case under golden/: its name is a sentence, input.yaml holds the objects and, as documents of the
// kinds Explain and Describe, what is asked; the other files are what must be said, as text and as JSON.
// UPDATE_GOLDEN=1 writes them anew; look at the difference before you commit it.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaultSelectors, eligibility } from '#/cni/index.ts';
import { defaultSettings, staticStrictPolicy, type MeshSettings } from '#/translate/index.ts';
import { effectivePeerAuthentication } from './peer-authentication.ts';
import {
  analysisText,
  analyze,
  describePod,
  describeService,
  descriptionText,
  explainNamed,
  findingRegistry,
  explanationText,
  MeshModel,
  readDocuments,
  TargetError,
  type AnalysisInput,
  type Enrolment,
  type NamedRequest,
} from './index.ts';

const folder = join(import.meta.dirname, 'golden');
const update = process.env['UPDATE_GOLDEN'] === '1';

const enrolment: Enrolment = (pod, namespaceLabels) =>
  eligibility(pod as Parameters<typeof eligibility>[0], namespaceLabels, {
    selectors: defaultSelectors,
    excludeNamespaces: ['kube-system'],
  });

const saidCodes = new Set<string>();

interface Asked {
  /** The objects are those of a cluster: nothing is assumed. */
  readonly live?: boolean;
  readonly settings?: Partial<MeshSettings>;
  readonly explain?: readonly NamedRequest[];
  readonly analyze?: AnalysisInput;
  readonly describe?: readonly {
    readonly kind: 'pod' | 'service';
    readonly namespace: string;
    readonly name: string;
  }[];
}

function answers(path: string): Readonly<Record<string, string>> {
  const { documents, unreadable } = readDocuments(readFileSync(path, 'utf8'), 'input.yaml');
  const asked = (documents.find(({ kind }) => kind === 'Asked')?.object.spec ?? {}) as Asked;
  const model = new MeshModel({
    documents: documents.filter(({ kind }) => kind !== 'Asked'),
    settings: { ...defaultSettings, ...asked.settings },
    enrolment,
    live: asked.live === true,
  });
  checkModes(model);
  const texts: string[] = [];
  const reports: unknown[] = [];
  for (const request of asked.explain ?? []) {
    texts.push(`$ aura explain ${request.from} ${request.to} -n ${request.namespace}${flags(request)}\n`);
    try {
      const explanation = explainNamed(model, request);
      reports.push(explanation);
      texts.push(explanationText(explanation), '\n');
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      texts.push(`${error.message}\n\n`);
    }
  }
  const files: Record<string, string> = {};
  if (texts.length > 0) {
    files['explain.txt'] = `${texts.join('').trimEnd()}\n`;
    files['explain.json'] = json(reports);
  }
  const described = (asked.describe ?? []).map(({ kind, namespace, name }) =>
    (kind === 'pod' ? describePod : describeService)(model, namespace, name, asked.analyze),
  );
  if (described.length > 0) {
    files['describe.txt'] = described.map(descriptionText).join('\n');
    files['describe.json'] = json(described);
  }
  const findings = analyze(model, { unreadable, ...asked.analyze });
  for (const { code } of findings) saidCodes.add(code);
  files['analyze.txt'] = analysisText(findings, documents.length - 1);
  files['analyze.json'] = json(findings);
  return files;
}

/** As they would be typed. */
function flags({ http = {} }: NamedRequest): string {
  const { method, path, host, headers = [], claims } = http;
  return [
    ...(method === undefined ? [] : [` --method ${method}`]),
    ...(path === undefined ? [] : [` --path ${path}`]),
    ...(host === undefined ? [] : [` --host ${host}`]),
    ...headers.map(({ name, value }) => ` -H '${name}: ${value}'`),
    ...(claims === undefined ? [] : [` --claims '${JSON.stringify(claims)}'`]),
  ].join('');
}

/** The object that is named for a mode must be the one by which the records were made. */
function checkModes(model: MeshModel): void {
  const strict = `${model.settings.rootNamespace}/${staticStrictPolicy}`;
  for (const pod of model.all('Pod')) {
    const workload = model.workloadOf(pod);
    if (workload === undefined) continue;
    const { mode, exceptions } = effectivePeerAuthentication(model, workload);
    const expected = mode === 'STRICT' && exceptions.length === 0;
    assert.equal(workload.authorizationPolicies.includes(strict), expected, `${pod.namespace}/${pod.name}`);
  }
}

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

for (const name of readdirSync(folder).sort()) {
  test(name.replaceAll('-', ' '), () => {
    const said = answers(join(folder, name, 'input.yaml'));
    for (const [file, text] of Object.entries(said)) {
      const path = join(folder, name, file);
      if (update) writeFileSync(path, text);
      assert.equal(text, readFileSync(path, 'utf8'), `${name}/${file} has drifted`);
    }
    for (const file of ['explain.txt', 'analyze.txt', 'describe.txt'])
      assert.ok(
        file in said || !existsSync(join(folder, name, file)),
        `${name}/${file} is of no use any more`,
      );
  });
}

test('every code of the registry has a case', () => {
  assert.deepEqual(
    Object.keys(findingRegistry).filter((code) => !saidCodes.has(code)),
    [],
  );
});

// Whatever stands in a file, the answer is a finding or an error of ours, never a crash.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultSettings } from '#/translate/index.ts';
import { analysisText, analyze, explainNamed, MeshModel, readDocuments, TargetError } from './index.ts';

const values = ['null', '[]', '{}', '"text"', '5', '[null]', '[{}]', '[[]]', 'true', '{a: [b]}', '["*"]'];

const fields: Readonly<Record<string, readonly string[]>> = {
  Namespace: ['metadata.labels', 'metadata.annotations'],
  Pod: [
    'metadata.labels',
    'metadata.annotations',
    'metadata.ownerReferences',
    'spec',
    'spec.containers',
    'status',
    'status.podIPs',
    'status.conditions',
  ],
  Deployment: [
    'spec',
    'spec.template',
    'spec.template.metadata',
    'spec.template.metadata.labels',
    'spec.template.spec',
  ],
  Service: ['spec', 'spec.ports', 'spec.clusterIPs', 'spec.selector'],
  ServiceEntry: ['spec', 'spec.hosts', 'spec.ports', 'spec.endpoints', 'spec.addresses', 'spec.exportTo'],
  Gateway: ['spec', 'spec.listeners', 'status', 'status.addresses'],
  AuthorizationPolicy: ['spec', 'spec.rules', 'spec.targetRefs', 'spec.selector', 'spec.action'],
  PeerAuthentication: ['spec', 'spec.mtls', 'spec.portLevelMtls', 'spec.selector'],
  NetworkPolicy: ['spec', 'spec.ingress', 'spec.podSelector', 'spec.policyTypes'],
  HTTPRoute: ['spec.parentRefs'],
  VirtualService: ['spec.hosts', 'spec.gateways'],
  DestinationRule: ['spec.host'],
};

function objectWith(kind: string, path: string, value: string): string {
  const steps = path.split('.');
  const inner = steps.reduceRight((text, step) => `{${step}: ${text}}`, value);
  const metadata = steps[0] === 'metadata' ? '' : 'metadata: {name: web, namespace: demo}, ';
  const named =
    steps[0] === 'metadata'
      ? inner.replace('{metadata: {', '{metadata: {name: web, namespace: demo, ')
      : inner;
  return `{apiVersion: x/v1, kind: ${kind}, ${metadata}${named.slice(1)}`;
}

const good = `
{kind: Namespace, metadata: {name: demo, labels: {istio.io/dataplane-mode: ambient}}}
---
{kind: Deployment, metadata: {name: curl, namespace: demo}, spec: {template: {metadata: {labels: {app: web}}}}}
---
{kind: Service, metadata: {name: ok, namespace: demo}, spec: {selector: {app: web}, ports: [{port: 80}]}}
`;

test('fields of another shape', () => {
  for (const [kind, paths] of Object.entries(fields))
    for (const path of paths)
      for (const value of values)
        for (const live of [false, true]) {
          const text = `${good}---\n${objectWith(kind, path, value)}\n`;
          const { documents, unreadable } = readDocuments(text, 'x.yaml');
          assert.deepEqual(unreadable, [], text);
          const model = new MeshModel({
            documents,
            settings: defaultSettings,
            enrolment: () => ({ enabled: true, by: 'namespace' }),
            live,
          });
          analysisText(analyze(model), documents.length);
          for (const target of ['web:80', 'ok:80', 'pod/web:80'])
            try {
              explainNamed(model, { from: 'curl', to: target, namespace: 'demo' });
            } catch (error) {
              if (!(error instanceof TargetError)) throw error;
            }
        }
});

test('texts that are no objects', () => {
  const deep = '['.repeat(100_000);
  for (const text of [
    '',
    '---',
    '\u0000',
    deep,
    'a: &a [*a]',
    '!!binary x',
    '{kind: 5, metadata: 7}',
    '- - -',
  ])
    for (const { reason } of readDocuments(text, 'x.yaml').unreadable) assert.notEqual(reason, '');
  assert.equal(readDocuments(deep, 'x.yaml').documents.length, 0);
});

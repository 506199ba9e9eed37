// Webhooks that change, refuse, fail, and are not asked.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:https';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { configMaps, defineResource, services, endpointSlices, type DynamicObject } from '#/kube/index.ts';
import { map, sharedServer } from '../test-server.ts';

const shared = sharedServer();
const mutating = defineResource(
  'admissionregistration.k8s.io/v1',
  'mutatingwebhookconfigurations',
  'MutatingWebhookConfiguration',
  'cluster',
);
const validating = defineResource(
  'admissionregistration.k8s.io/v1',
  'validatingwebhookconfigurations',
  'ValidatingWebhookConfiguration',
  'cluster',
);

interface Review {
  readonly request: {
    readonly uid: string;
    readonly operation: string;
    readonly name: string;
    readonly userInfo: { readonly username: string };
    readonly object: { readonly data?: Record<string, string> } | null;
    readonly oldObject: object | null;
  };
}

let hook: Server;
const asked: string[] = [];

before(async () => {
  await shared.started;
  // The API server's own certificate is good enough for 127.0.0.1.
  const pki = join(shared.dir, 'data', 'pki');
  hook = createServer(
    { key: readFileSync(join(pki, 'server.key')), cert: readFileSync(join(pki, 'server.crt')) },
    (request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => {
        const review = JSON.parse(text) as Review;
        const { uid, operation, name, object } = review.request;
        asked.push(`${request.url} ${operation} ${name}`);
        const answer: Record<string, unknown> = { uid, allowed: true };
        if (request.url === '/mutate' && object !== null) {
          answer['patchType'] = 'JSONPatch';
          answer['patch'] = Buffer.from(
            JSON.stringify([{ op: 'add', path: '/metadata/labels', value: { mutated: 'yes' } }]),
          ).toString('base64');
          answer['warnings'] = ['mutated it'];
        }
        if (request.url === '/validate' && object?.data?.['bad'] !== undefined) {
          answer['allowed'] = false;
          answer['status'] = { code: 403, message: 'bad is not allowed' };
        }
        if (request.url === '/validate' && operation === 'DELETE' && name === 'precious')
          answer['allowed'] = false;
        if (request.url === '/garbage') response.end('<html>');
        else if (request.url === '/slow') setTimeout(() => response.end('{}'), 5000).unref();
        else
          response.end(
            JSON.stringify({ kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1', response: answer }),
          );
      });
    },
  );
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
});
after(() => {
  hook.closeAllConnections();
  hook.close();
});

const port = (): number => (hook.address() as { port: number }).port;
const bundle = (): string => Buffer.from(shared.server.ca).toString('base64');
const webhook = (name: string, path: string, ns: string, more: object = {}) => ({
  name: `${name}.example.com`,
  clientConfig: { url: `https://127.0.0.1:${port()}${path}`, caBundle: bundle() },
  rules: [{ operations: ['*'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] }],
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': ns } },
  sideEffects: 'None',
  admissionReviewVersions: ['v1'],
  ...more,
});
const configure = (resource: typeof mutating, name: string, ...webhooks: object[]): Promise<DynamicObject> =>
  shared.client.create(resource, undefined, { metadata: { name }, webhooks });

test('a mutating webhook changes what is written, with a warning', async () => {
  const ns = await shared.fresh();
  await configure(mutating, 'mutate', webhook('mutate', '/mutate', ns));
  const made = await shared.raw('POST', `/api/v1/namespaces/${ns}/configmaps`, {
    body: JSON.stringify(map('a')),
  });
  assert.deepEqual(
    [made.code, (made.json.metadata as { labels?: object }).labels],
    [201, { mutated: 'yes' }],
  );
  assert.equal(made.headers['warning'], '299 - "mutated it"');
  // Others are not asked about.
  const before = asked.length;
  const other = await shared.fresh();
  await shared.client.create(configMaps, other, map('a'));
  assert.equal(asked.length, before);
});

test('a validating webhook refuses creates, changes and deletes', async () => {
  const { client } = shared;
  const ns = await shared.fresh();
  await configure(validating, 'validate', webhook('validate', '/validate', ns));
  await assert.rejects(
    client.create(configMaps, ns, map('a', { bad: '1' })),
    /admission webhook "validate.example.com" denied the request: bad is not allowed/,
  );
  await client.create(configMaps, ns, map('precious', { good: '1' }));
  await assert.rejects(
    client.patch(configMaps, ns, 'precious', { data: { bad: '1' } }, 'merge'),
    /denied the request/,
  );
  await assert.rejects(client.delete(configMaps, ns, 'precious'), /denied the request: without explanation/);
  assert.deepEqual((await client.get(configMaps, ns, 'precious')).data, { good: '1' });
});

test('selectors and conditions say who is asked', async () => {
  const { client } = shared;
  const ns = await shared.fresh();
  await configure(
    validating,
    'selective',
    webhook('one', '/one', ns, { objectSelector: { matchLabels: { check: 'yes' } } }),
    webhook('two', '/two', ns, {
      matchConditions: [{ name: 'c', expression: "object.metadata.name.startsWith('x')" }],
    }),
    webhook('three', '/three', ns, {
      rules: [{ operations: ['UPDATE'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*'] }],
    }),
  );
  asked.length = 0;
  await client.create(configMaps, ns, { metadata: { name: 'a', labels: { check: 'yes' } } });
  await client.create(configMaps, ns, map('x'));
  await client.patch(configMaps, ns, 'x', { data: { a: 'b' } }, 'merge');
  assert.deepEqual(
    asked.filter((entry) => !entry.startsWith('/mutate')),
    ['/one CREATE a', '/two CREATE x', '/three UPDATE x', '/two UPDATE x'].sort((a, b) =>
      a.endsWith('UPDATE x') && b.endsWith('UPDATE x') ? (a < b ? 1 : -1) : 0,
    ),
  );
});

test('a webhook that fails is a refusal, unless it may be passed over', async () => {
  const { client } = shared;
  const ns = await shared.fresh();
  const fails = async (more: object, why: RegExp): Promise<void> => {
    await configure(validating, 'failing', webhook('failing', '/x', ns, more));
    await assert.rejects(client.create(configMaps, ns, map('a')), why);
    await client.delete(validating, undefined, 'failing');
  };
  await fails(
    { clientConfig: { url: 'https://127.0.0.1:1/x' } },
    /failed calling webhook "failing.example.com": .*ECONNREFUSED/,
  );
  await fails(
    { clientConfig: { url: `https://127.0.0.1:${port()}/x` } },
    /failed calling webhook .*(self-signed|unable to)/,
  );
  await fails(
    { clientConfig: { url: `https://127.0.0.1:${port()}/garbage`, caBundle: bundle() } },
    /its answer is not JSON/,
  );
  await fails(
    { clientConfig: { url: `https://127.0.0.1:${port()}/slow`, caBundle: bundle() }, timeoutSeconds: 1 },
    /no answer within 1 s/,
  );
  await fails(
    { clientConfig: { service: { namespace: ns, name: 'nobody' } } },
    /service .*\/nobody does not exist/,
  );
  await fails(
    { matchConditions: [{ name: 'broken', expression: 'object.nothing.here' }] },
    /matchCondition broken/,
  );
  await configure(
    validating,
    'lenient',
    webhook('lenient', '/x', ns, { clientConfig: { url: 'https://127.0.0.1:1/x' }, failurePolicy: 'Ignore' }),
  );
  const made = await shared.raw('POST', `/api/v1/namespaces/${ns}/configmaps`, {
    body: JSON.stringify(map('a')),
  });
  assert.equal(made.code, 201);
  assert.match(String(made.headers['warning']), /could not be asked and was passed over/);
});

test('a service is reached at one of its endpoints', async () => {
  const { client } = shared;
  const ns = await shared.fresh();
  await client.create(services, ns, {
    metadata: { name: 'hook' },
    spec: { ports: [{ name: 'https', port: 443, targetPort: port() }] },
  });
  await client.create(endpointSlices, ns, {
    metadata: { name: 'hook-1', labels: { 'kubernetes.io/service-name': 'hook' } },
    addressType: 'IPv4',
    ports: [{ name: 'https', port: port() }],
    endpoints: [{ addresses: ['192.0.2.1'], conditions: { ready: false } }, { addresses: ['127.0.0.1'] }],
  });
  // The certificate is not for this name, so all that can be seen is that it was reached.
  await configure(
    validating,
    'service',
    webhook('service', '/x', ns, {
      clientConfig: { service: { namespace: ns, name: 'hook', path: '/validate' }, caBundle: bundle() },
    }),
  );
  await assert.rejects(
    client.create(configMaps, ns, map('a')),
    /hook\.test-.*\.svc. is not in the cert's altnames/,
  );
});

// The samples as they are shipped: the manifest's module and configuration, run by the host.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { ExtensionResult } from './answer.ts';
import { requestInput, TestHost } from './test-host.ts';

const folder = new URL('../../../samples/extensions/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');

interface Manifest {
  readonly kind: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly config: Readonly<Record<string, unknown>>;
    readonly moduleFrom: { readonly configMapKeyRef: { readonly name: string; readonly key: string } };
  };
}

function sample(name: string, changes: Readonly<Record<string, unknown>> = {}): TestHost {
  const [map, extension] = parseAllDocuments(read(`${name}.yaml`)).map((one) => one.toJS() as Manifest);
  const ref = extension?.spec?.moduleFrom.configMapKeyRef;
  assert.deepEqual(ref, { name, key: `${name}.ts` });
  const module = map?.data?.[`${name}.ts`] ?? '';
  assert.equal(module, read(`${name}.ts`), 'the manifest has another text than the file beside it');
  return new TestHost(module, { config: { ...extension?.spec?.config, ...changes } });
}

const edits = (result: ExtensionResult): string[] =>
  result.failure === undefined
    ? result.edits.map(({ operation, name, value }) => `${operation} ${name} ${value}`.trim())
    : assert.fail(result.failure);
const status = (result: ExtensionResult): number | undefined =>
  result.failure === undefined ? result.reply?.status : assert.fail(result.failure);

test('add-tenant-header: from the token, else from the namespace; what the client says never passes', async () => {
  using one = sample('add-tenant-header');
  const inside = { i: 'spiffe://cluster.local/ns/bookinfo/sa/web', h: ['x-tenant', 'forged'] };
  assert.deepEqual(edits(await one.request(inside)), ['delete x-tenant', 'set x-tenant readers']);
  assert.deepEqual(edits(await one.request({ ...inside, c: { tenant: 'acme' } })), [
    'delete x-tenant',
    'set x-tenant acme',
  ]);
  const stranger = { i: 'spiffe://cluster.local/ns/other/sa/web' };
  assert.equal(status(await one.request(stranger)), 403);
  using lax = sample('add-tenant-header', { required: false });
  const passed = await lax.request(stranger);
  assert.equal(status(passed), undefined);
  assert.deepEqual(edits(passed), ['delete x-tenant']);
});

test('block-bots: refuses by user agent, and marks the answers to others', async () => {
  using one = sample('block-bots');
  const as = (agent?: string) => one.request({ h: agent === undefined ? [] : ['user-agent', agent] });
  const refused = await as('Mozilla/5.0 (compatible; gptbot/1.2)');
  assert.ok(refused.failure === undefined && refused.reply !== undefined);
  assert.equal(refused.reply.status, 403);
  assert.deepEqual(JSON.parse(refused.reply.body), {
    error: 'bots are not served here',
    because: 'GPTBot',
  });
  assert.equal(status(await as()), 403);
  assert.equal(status(await as('curl/8.7')), undefined);
  const { h: _, ...common } = requestInput();
  assert.deepEqual(edits(await one.call('onResponse', { ...common, status: 200, h: [] })), [
    'set x-bot-check passed',
  ]);
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createLogger } from '#/kit/index.ts';
import { MeshStore } from '#/state/index.ts';
import { encodeAddress, encodePolicy } from '#/wire/index.ts';
import { aPolicy, aService, aWorkload, ip } from '../../test/mesh-records.ts';
import { addressType, applyPush, authorizationType } from './mesh-sync.ts';

function fixture() {
  const store = new MeshStore({});
  const lines: string[] = [];
  const log = createLogger(
    {
      level: 'info',
      format: 'plain',
      write: (line) => lines.push(line.trimEnd().split('\t').slice(1).join('|')),
    },
    'xds',
  );
  const push = (typeUrl: string, resources: Record<string, Uint8Array>, removed: string[] = []) =>
    applyPush(
      store,
      {
        typeUrl,
        upserts: Object.entries(resources).map(([name, resource]) => ({ name, version: '1', resource })),
        removed,
        first: false,
      },
      log,
    );
  return { store, lines, push };
}

const garbage = Buffer.from('0affffffff', 'hex');

suite('a push of the control plane', () => {
  test('workloads and services, applied as one change', () => {
    const { store, push } = fixture();
    let changes = 0;
    store.onChange(() => changes++);
    const web = aWorkload('web', { addresses: ['10.0.0.1'], services: { 'ns/web.example': { 80: 8080 } } });
    const rejected = push(addressType, {
      [web.uid]: encodeAddress(web),
      'ns/web.example': encodeAddress(aService('web.example', { addresses: ['10.1.0.1'] })),
    });
    assert.deepEqual([rejected, changes], [[], 1]);
    assert.equal(store.workloadByAddress('', ip('10.0.0.1'))?.name, 'web');
    assert.equal(store.serviceByAddress('', ip('10.1.0.1'))?.hostname, 'web.example');
    push(addressType, {}, [web.uid, 'ns/web.example', 'never/was']);
    assert.equal(store.workloadByAddress('', ip('10.0.0.1')), undefined);
    assert.equal(store.serviceByAddress('', ip('10.1.0.1')), undefined);
  });

  test('what cannot be read is refused by name and keeps its last good form; the rest is applied', () => {
    const { store, lines, push } = fixture();
    const web = aWorkload('web', { addresses: ['10.0.0.1'] });
    push(addressType, { [web.uid]: encodeAddress(web) });
    const rejected = push(addressType, {
      [web.uid]: garbage,
      other: encodeAddress(aWorkload('other', { addresses: ['10.0.0.2'] })),
    });
    assert.deepEqual(
      rejected.map(({ name }) => name),
      [web.uid],
    );
    assert.ok((rejected[0]?.reason ?? '') !== '');
    assert.equal(store.workloadByUid(web.uid)?.name, 'web');
    assert.equal(store.workloadByAddress('', ip('10.0.0.2'))?.name, 'other');
    assert.match(
      lines.at(-1) ?? '',
      /^warn\|xds\|refused a resource; its last good form stays\|type_url=type.googleapis.com\/istio.workload.Address name=/,
    );
  });

  test('policies: one with a range that is none is refused, not weakened', () => {
    const { store, push } = fixture();
    assert.deepEqual(push(authorizationType, { 'ns/p': encodePolicy(aPolicy('p')) }), []);
    assert.equal(store.policy('ns/p')?.name, 'p');
    // Authorization{name, namespace, rules{clauses{matches{source_ips{address: 3 bytes, length: 8}}}}}
    const address = Buffer.from('0a03010203' + '1008', 'hex');
    const wrap = (tag: number, body: Buffer) => Buffer.concat([Buffer.from([tag, body.length]), body]);
    const rule = wrap(0x2a, wrap(0x0a, wrap(0x12, wrap(0x2a, address))));
    const policy = Buffer.concat([wrap(0x0a, Buffer.from('p')), wrap(0x12, Buffer.from('ns')), rule]);
    const rejected = push(authorizationType, { 'ns/p': policy });
    assert.deepEqual(
      rejected.map(({ name }) => name),
      ['ns/p'],
    );
    assert.deepEqual(store.policy('ns/p')?.rules, [], 'the last good form');
    push(authorizationType, {}, ['ns/p']);
    assert.equal(store.policy('ns/p'), undefined);
  });

  test('a type that nobody asked for', () => {
    const { push } = fixture();
    assert.deepEqual(push('type.googleapis.com/x', { a: garbage }), [
      { name: 'a', reason: 'resources of type type.googleapis.com/x were not asked for' },
    ]);
  });

  test('the line of a push', () => {
    const { lines, push } = fixture();
    push(addressType, { a: encodeAddress(aWorkload('a')) }, ['b', 'c']);
    assert.deepEqual(lines, [
      'info|xds|received response|type_url=type.googleapis.com/istio.workload.Address size=1 removes=2',
    ]);
  });
});

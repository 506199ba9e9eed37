// Filters of the user's own through the whole mesh: attached to a Service and to a Gateway, changed, broken, removed.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { seen, WaypointLab } from './waypoint-lab.ts';

interface Settings {
  readonly target?: string;
  readonly phase?: string;
  readonly onFailure?: string;
  readonly priority?: number;
}

const extension = (
  name: string,
  module: string,
  { target = 'group: "", kind: Service, name: app', phase = 'AUTHZ', ...more }: Settings = {},
): string => `
apiVersion: extensions.aura.io/v1alpha1
kind: Extension
metadata: { name: ${name}, namespace: shop }
spec:
  targetRefs: [{ ${target} }]
  phase: ${phase}
  timeout: 500ms
  ${more.onFailure === undefined ? '' : `onFailure: ${more.onFailure}`}
  ${more.priority === undefined ? '' : `priority: ${more.priority}`}
  module: |
    export default {
${module.replaceAll(/^/gm, '      ')}
    };
---
`;

const gateway = 'group: gateway.networking.k8s.io, kind: Gateway, name: waypoint';
const url = 'http://app/get';

describe('extensions', () => {
  const mesh = new WaypointLab();
  before(() => mesh.start());
  after(() => mesh[Symbol.asyncDispose]());

  test('see who asks, change requests and responses, and are told of the end', () =>
    mesh.with(
      extension(
        'mark',
        `onRequest(request, { identity, state }) {
           request.headers.set('x-who', String(identity));
           state.path = request.path;
           if (request.path === '/moved') request.path = '/get?from=moved';
         },
         onResponse(response, { state }) { response.headers.set('x-mark', state.path + ' ' + response.status); },
         onLog(record, { log }) { log('told of ' + record.path + ' ' + record.status); },`,
      ),
      async () => {
        const first = await mesh.until('it is marked', url, (call) => call.headers['x-mark'] !== undefined);
        assert.equal(first.headers['x-mark'], '/get 200');
        assert.equal(seen(first).headers['x-who'], 'spiffe://cluster.local/ns/shop/sa/client');
        const moved = await mesh.call('http://app/moved', { args: ['-H', 'x-who: forged'] });
        assert.equal(seen(moved).args['from'], 'moved');
        assert.equal(seen(moved).headers['x-who'], 'spiffe://cluster.local/ns/shop/sa/client');
        await mesh.logLine(['told of /get?from=moved 200', 'shop/mark']);
      },
    ));

  test('of a Gateway are for everything behind it; of a priority, in that order', () =>
    mesh.with(
      extension(
        'refuse',
        `onRequest(request) {
           if (request.headers.get('user-agent')?.includes('bot'))
             return { status: 403, headers: { 'content-type': 'application/json' }, body: '{"no":1}' };
         },`,
        { target: gateway, phase: 'AUTHN' },
      ) +
        extension('second', `onRequest({ headers }) { headers.add('x-order', 'second'); },`, {
          target: gateway,
          priority: 1,
        }) +
        extension('first', `onRequest({ headers }) { headers.add('x-order', 'first'); },`, {
          target: gateway,
          priority: 2,
        }),
      async () => {
        const refused = await mesh.until('bots are refused', url, (call) => call.status === 403, {
          args: ['-A', 'a bot'],
        });
        assert.equal(refused.body, '{"no":1}');
        assert.equal(refused.headers['content-type'], 'application/json');
        assert.equal((await mesh.call('http://app-v2/get', { args: ['-A', 'a bot'] })).status, 403);
        const both = await mesh.until('both are there', url, (call) => call.body.includes('second'));
        assert.match(seen(both).headers['x-order'] ?? '', /^first, ?second$/);
      },
    ));

  test('that hang or cannot be loaded refuse, or are left out; others are not held up', async () => {
    const hang = (onFailure: string) =>
      extension('hang', `onRequest({ path }) { if (path === '/headers') for (;;); },`, { onFailure });
    await mesh.with(hang('Refuse'), async () => {
      const hung = await mesh.untilStatus('http://app/headers', 500);
      assert.ok(hung.error === '');
      await mesh.logLine(['no answer within 500 ms', 'shop/hang']);
      // It is started again, and requests that it can judge pass.
      await mesh.untilStatus(url, 200);
      assert.equal((await mesh.call('http://app-v2/get')).status, 200);
      await mesh.apply(hang('Skip'));
      await mesh.untilStatus('http://app/headers', 200);
    });
    await mesh.with(extension('broken', 'onRequest() {'), async () => {
      await mesh.untilStatus(url, 500);
      await mesh.logLine(['cannot be loaded', 'shop/broken']);
      await mesh.apply(extension('broken', 'onRequest() {},'));
      await mesh.untilStatus(url, 200);
    });
    const [calls] = await mesh.series('aura_waypoint_extension_timeouts_total', { extension: 'shop/hang' });
    assert.ok((calls?.value ?? 0) > 0);
  });
});

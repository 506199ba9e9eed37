// Mirrors: copies of requests, whose answers nobody waits for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../lab/test-lab.ts';
import { away, httpCase, mesh, service } from './backends.ts';
import { reportOf } from './conformance-lab.ts';
import type { Feature } from './feature.ts';

const mirror = (text: string): string => `{ type: RequestMirror, requestMirror: { ${text} } }`;
const toV2 = 'backendRef: { name: echo-v2, port: 80 }';

const nobodyListens = `${service('mute', 'app: mute')}
apiVersion: apps/v1
kind: Deployment
metadata: { name: mute, namespace: ${mesh} }
spec:
  selector: { matchLabels: { app: mute } }
  template:
    metadata: { labels: { app: mute, half: broken } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: mute, image: aura/debug }]
---`;

const rule = (path: string, filters: readonly string[]): string => `
  - matches: [{ path: { type: PathPrefix, value: ${path} } }]
    filters: [${filters.join(', ')}]
    backendRefs: [{ name: echo-v1, port: 80 }]`;

export const mirrorFeatures: readonly Feature[] = [
  {
    name: 'HTTPRouteRequestMirror',
    manifest:
      nobodyListens +
      httpCase(
        'mirror',
        [
          rule('/plain', [mirror(toV2)]),
          rule('/changed', [
            `{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-set, value: was-set }] } }`,
            mirror(toV2),
          ]),
          rule('/mute', [mirror('backendRef: { name: mute, port: 80 }')]),
          rule('/broken', [mirror('backendRef: { name: nosuch, port: 80 }')]),
          `
  - matches: [{ path: { value: /backend } }]
    backendRefs: [{ name: echo-v1, port: 80, filters: [${mirror(toV2)}] }]`,
        ].join(''),
      ),
    tests(lab) {
      for (const path of ['/plain', '/changed', '/backend'])
        test(`a copy of ${path} gets to the mirror, and the backend answers`, async () => {
          await lab.expect({ url: `http://mirror${path}` }, { version: 'v1' });
          const mark = lab.mark();
          const answer = await lab.one({
            url: `http://mirror${path}?q=1`,
            method: 'DELETE',
            headers: { 'x-echo-remember': mark, 'x-mine': 'mine' },
          });
          assert.equal(reportOf(answer).version, 'v1');
          const [copy, ...more] = await eventually('the copy', async () => {
            const copies = await lab.recall(mark, 'v2');
            return copies.length > 0 && copies;
          });
          assert.deepEqual(more, []);
          assert.equal(copy?.method, 'DELETE');
          assert.equal(copy.path, `${path}?q=1`);
          assert.equal(copy.headers['x-mine'], 'mine');
          if (path === '/changed') assert.equal(copy.headers['x-set'], 'was-set');
          assert.equal((await lab.recall(mark, 'v1')).length, 1);
        });

      test('a copy has the body, too', async () => {
        const mark = lab.mark();
        const body = 'x'.repeat(100_000);
        const headers = { 'x-echo-remember': mark };
        const answer = await lab.one({ url: 'http://mirror/plain', method: 'POST', body, headers });
        assert.equal(answer.status, 200);
        assert.equal(answer.body.length, body.length);
        const [copy] = await eventually('the copy', async () => {
          const copies = await lab.recall(mark, 'v2');
          return copies.length > 0 && copies;
        });
        assert.equal(copy?.method, 'POST');
      });

      test('a mirror that cannot be reached is nobody’s concern', async () => {
        await lab.expect({ url: 'http://mirror/mute' }, { version: 'v1' });
        assert.deepEqual(await lab.shares({ url: 'http://mirror/mute' }, 30), { v1: 30 });
      });

      test('a mirror that does not exist is told by the status, and the request passes', async () => {
        await lab.expect({ url: 'http://mirror/broken' }, { version: 'v1' });
        await lab.expectStatus('HTTPRoute', 'mirror', 'mirror', {
          Accepted: 'True Accepted',
          ResolvedRefs: 'False BackendNotFound',
        });
      });
    },
  },
  {
    name: 'HTTPRouteRequestMultipleMirrors',
    manifest: httpCase(
      'mirrors',
      rule('/', [mirror(toV2), mirror(`backendRef: { name: echo, namespace: ${away}, port: 80 }`)]),
    ),
    tests(lab) {
      test('every mirror gets a copy', async () => {
        await lab.expect({ url: 'http://mirrors/' }, { version: 'v1' });
        const mark = lab.mark();
        await lab.one({ url: 'http://mirrors/x', headers: { 'x-echo-remember': mark } });
        for (const url of ['http://echo-v2/', `http://echo.${away}/`])
          await eventually(`a copy at ${url}`, async () => {
            const { body } = await lab.one({ url, headers: { 'x-echo-recall': mark } });
            return (JSON.parse(body) as unknown[]).length === 1;
          });
      });
    },
  },
  {
    name: 'HTTPRouteRequestPercentageMirror',
    manifest: httpCase(
      'mirror-share',
      [
        rule('/percent', [mirror(`${toV2}, percent: 20`)]),
        rule('/fraction', [mirror(`${toV2}, fraction: { numerator: 1, denominator: 2 }`)]),
        rule('/hundredths', [mirror(`${toV2}, fraction: { numerator: 35 }`)]),
        rule('/none', [mirror(`${toV2}, percent: 0`)]),
        rule('/all', [mirror(`${toV2}, percent: 100`)]),
      ].join(''),
    ),
    tests(lab) {
      const count = 400;
      for (const [path, share] of [
        ['/percent', 0.2],
        ['/fraction', 0.5],
        ['/hundredths', 0.35],
        ['/none', 0],
        ['/all', 1],
      ] as const)
        test(`of the requests for ${path}, ${share * 100} % are copied`, async () => {
          await lab.expect({ url: `http://mirror-share${path}` }, { version: 'v1' });
          const mark = lab.mark();
          const url = `http://mirror-share${path}`;
          await lab.all({ url, headers: { 'x-echo-remember': mark }, count });
          // Over five standard deviations. Copies may come after the answers.
          const slack = share === 0 || share === 1 ? 0 : 0.14;
          const copies = await eventually('the copies', async () => {
            const { length } = await lab.recall(mark, 'v2');
            return length / count >= share - slack && { length };
          });
          assert.ok(copies.length / count <= share + slack, `${copies.length} of ${count}`);
        });
    },
  },
];

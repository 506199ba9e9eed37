// Timeouts and retries.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpCase, mesh, route, service } from './backends.ts';
import type { ConformanceLab } from './conformance-lab.ts';
import type { Feature } from './feature.ts';

const rule = (path: string, text: string): string => `
  - matches: [{ path: { value: ${path} } }]
    ${text}
    backendRefs: [{ name: echo-v1, port: 80 }]`;

/** Milliseconds; far above any timeout of these routes. */
const late = { 'x-echo-delay': '4000' };

/** How often the backend was asked, in a request of which the first ones fail so. */
async function failing(
  lab: ConformanceLab,
  url: string,
  times: number,
  how: string,
  order: { readonly method?: string; readonly body?: string } = {},
): Promise<{ readonly status: number; readonly asked: number; readonly body: string }> {
  const mark = lab.mark();
  const headers = { 'x-echo-remember': mark, 'x-echo-fail': `${mark} ${times} ${how}` };
  const { status, body } = await lab.one({ url, headers, ...order });
  return { status, asked: (await lab.recall(mark, 'v1')).length, body };
}

export const timeFeatures: readonly Feature[] = [
  {
    name: 'HTTPRouteRequestTimeout',
    manifest: httpCase(
      'timeout',
      [
        rule('/short', 'timeouts: { request: 300ms }'),
        rule('/off', 'timeouts: { request: 0s }'),
        rule('/with-retry', 'timeouts: { request: 500ms }\n    retry: { codes: [503], attempts: 3 }'),
      ].join(''),
    ),
    tests(lab) {
      test('a request that takes longer gets 504; one that does not is answered', async () => {
        await lab.expect({ url: 'http://timeout/short' }, { version: 'v1' });
        await lab.expect({ url: 'http://timeout/short', headers: late }, { status: 504 });
        await lab.expect({ url: 'http://timeout/with-retry', headers: late }, { status: 504 });
      });

      test('0s is no timeout', async () => {
        await lab.expect(
          { url: 'http://timeout/off', headers: { 'x-echo-delay': '700' } },
          { version: 'v1' },
        );
      });
    },
  },
  {
    name: 'HTTPRouteBackendTimeout',
    manifest: httpCase(
      'backend-timeout',
      [
        rule('/short', 'timeouts: { backendRequest: 300ms }'),
        rule('/both', 'timeouts: { request: 10s, backendRequest: 300ms }'),
        rule('/off', 'timeouts: { request: 0s, backendRequest: 0s }'),
      ].join(''),
    ),
    tests(lab) {
      test('a backend that takes longer gives 504', async () => {
        await lab.expect({ url: 'http://backend-timeout/short' }, { version: 'v1' });
        await lab.expect({ url: 'http://backend-timeout/short', headers: late }, { status: 504 });
        await lab.expect({ url: 'http://backend-timeout/both', headers: late }, { status: 504 });
        const slow = { 'x-echo-delay': '700' };
        await lab.expect({ url: 'http://backend-timeout/off', headers: slow }, { version: 'v1' });
      });
    },
  },
  {
    name: 'HTTPRouteRetry',
    manifest: httpCase(
      'retry',
      [
        rule('/codes', 'retry: { codes: [500, 502, 503, 504], attempts: 3, backoff: 10ms }'),
        rule('/one-code', 'retry: { codes: [503], attempts: 2 }'),
        rule('/none', ''),
      ].join(''),
    ),
    tests(lab) {
      for (const code of [500, 502, 503, 504])
        test(`${code} is tried again, as often as the route says`, async () => {
          await lab.expect({ url: 'http://retry/codes' }, {});
          const good = await failing(lab, 'http://retry/codes', 3, `${code}`);
          assert.deepEqual([good.status, good.asked], [200, 4]);
          const bad = await failing(lab, 'http://retry/codes', 9, `${code}`);
          assert.deepEqual([bad.status, bad.asked], [code, 4]);
        });

      test('a body is sent again', async () => {
        const body = 'b'.repeat(20_000);
        const again = await failing(lab, 'http://retry/codes', 2, '503', { method: 'POST', body });
        assert.deepEqual([again.status, again.asked, again.body], [200, 3, body]);
      });

      test('other codes are answers, and without a stanza there is one try', async () => {
        await lab.expect({ url: 'http://retry/none' }, {});
        for (const [path, code] of [
          ['one-code', 500],
          ['none', 503],
        ]) {
          const once = await failing(lab, `http://retry/${path}`, 1, `${code}`);
          assert.deepEqual([once.status, once.asked], [code, 1], `${path}`);
        }
      });
    },
  },
  {
    name: 'HTTPRouteRetryBackendTimeout',
    manifest: httpCase(
      'retry-timeout',
      [
        rule('/try', 'timeouts: { backendRequest: 300ms }\n    retry: { attempts: 2 }'),
        rule(
          '/whole',
          'timeouts: { request: 900ms, backendRequest: 400ms }\n    retry: { attempts: 100, backoff: 10ms }',
        ),
      ].join(''),
    ),
    tests(lab) {
      test('a try that takes too long is given up, and made again', async () => {
        await lab.expect({ url: 'http://retry-timeout/try' }, {});
        const good = await failing(lab, 'http://retry-timeout/try', 2, 'hang');
        assert.deepEqual([good.status, good.asked], [200, 3]);
        const bad = await failing(lab, 'http://retry-timeout/try', 9, 'hang');
        assert.deepEqual([bad.status, bad.asked], [504, 3]);
      });

      test('all tries together end with the request’s own timeout', async () => {
        await lab.expect({ url: 'http://retry-timeout/whole' }, {});
        const { status, asked } = await failing(lab, 'http://retry-timeout/whole', 99, 'hang');
        assert.equal(status, 504);
        assert.ok(asked >= 1 && asked <= 4, `${asked} tries`);
      });
    },
  },
  {
    name: 'HTTPRouteRetryConnectionError',
    manifest: [
      httpCase('retry-error', rule('/cut', 'retry: { attempts: 2, backoff: 10ms }')),
      // Of its endpoints one is a pod in which nobody listens (see mirror-cases.ts).
      service('half-broken', 'half: broken'),
      `
apiVersion: apps/v1
kind: Deployment
metadata: { name: half, namespace: ${mesh} }
spec:
  selector: { matchLabels: { half: broken, part: good } }
  template:
    metadata: { labels: { half: broken, part: good } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: echo
          image: aura/echo
          env: [{ name: SERVICE_VERSION, value: half }]
          readinessProbe: { tcpSocket: { port: 9090 }, periodSeconds: 2 }
---`,
      service('retry-connect'),
      route(
        'HTTPRoute',
        'retry-connect',
        ['retry-connect'],
        'rules:\n  - backendRefs: [{ name: half-broken, port: 80 }]\n    retry: { attempts: 20, backoff: 5ms }',
      ),
    ].join(''),
    tests(lab) {
      test('an endpoint that refuses connections does not show', async () => {
        await lab.expect({ url: 'http://retry-connect/' }, { version: 'half' });
        assert.deepEqual(await lab.shares({ url: 'http://retry-connect/' }, 40), { half: 40 });
      });

      test('a connection that is cut before an answer is tried again', async () => {
        await lab.expect({ url: 'http://retry-error/cut' }, {});
        const good = await failing(lab, 'http://retry-error/cut', 2, 'reset');
        assert.deepEqual([good.status, good.asked], [200, 3]);
        const bad = await failing(lab, 'http://retry-error/cut', 9, 'reset');
        assert.deepEqual([bad.status, bad.asked], [503, 3]);
      });
    },
  },
];

// Timeouts and retries.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../lab/test-lab.ts';
import { httpCase, mesh, route, service } from './backends.ts';
import type { ConformanceLab } from './conformance-lab.ts';
import type { Feature } from './feature.ts';

const rule = (path: string, text: string): string => `
  - matches: [{ path: { value: ${path} } }]
    ${text}
    backendRefs: [{ name: echo-v1, port: 80 }]`;

/** Milliseconds; far above any timeout of these routes. */
const late = { 'x-echo-delay': '4000' };

/**
 * A request of which the first `times` tries fail so: its status, and how often the backend was asked. Until it is as
 * wanted: on a slow machine a good try, too, may come after its time.
 */
async function expectTries(
  lab: ConformanceLab,
  url: string,
  [times, how]: readonly [number, number | 'hang' | 'reset'],
  [status, asked]: readonly [number, number],
  order: { readonly method?: string; readonly body?: string } = {},
): Promise<void> {
  await eventually(`${asked} tries of ${url}`, async () => {
    const mark = lab.mark();
    const headers = { 'x-echo-remember': mark, 'x-echo-fail': `${mark} ${times} ${how}` };
    const answer = await lab.one({ url, headers, ...order });
    assert.deepEqual([answer.status, (await lab.recall(mark, 'v1')).length], [status, asked]);
    if (order.body !== undefined) assert.equal(answer.body, order.body);
    return true;
  });
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
          await expectTries(lab, 'http://retry/codes', [3, code], [200, 4]);
          await expectTries(lab, 'http://retry/codes', [9, code], [code, 4]);
        });

      test('a body is sent again', async () => {
        const body = 'b'.repeat(20_000);
        await expectTries(lab, 'http://retry/codes', [2, 503], [200, 3], { method: 'POST', body });
      });

      test('other codes are answers, and without a stanza there is one try', async () => {
        await lab.expect({ url: 'http://retry/none' }, {});
        await expectTries(lab, 'http://retry/one-code', [1, 500], [500, 1]);
        await expectTries(lab, 'http://retry/none', [1, 503], [503, 1]);
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
        await expectTries(lab, 'http://retry-timeout/try', [2, 'hang'], [200, 3]);
        await expectTries(lab, 'http://retry-timeout/try', [9, 'hang'], [504, 3]);
      });

      test('all tries together end with the request’s own timeout', async () => {
        await lab.expect({ url: 'http://retry-timeout/whole' }, {});
        const mark = lab.mark();
        const headers = { 'x-echo-remember': mark, 'x-echo-fail': `${mark} 99 hang` };
        const { status } = await lab.one({ url: 'http://retry-timeout/whole', headers });
        assert.equal(status, 504);
        const { length } = await lab.recall(mark, 'v1');
        assert.ok(length >= 1 && length <= 4, `${length} tries`);
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
        await expectTries(lab, 'http://retry-error/cut', [2, 'reset'], [200, 3]);
        await expectTries(lab, 'http://retry-error/cut', [9, 'reset'], [503, 3]);
      });
    },
  },
];

// GRPCRoute: matches by service, method and metadata, weights, changes of metadata, mirrors.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../lab/test-lab.ts';
import { grpcCase, httpCase, service, route } from './backends.ts';
import type { Feature } from './feature.ts';

const say = 'aura.echo.v1.Echo/Say';
const say2 = 'aura.echo.v2.Echo/Say';
const shout = 'aura.echo.v2.Echo/Shout';

const to = (version: string): string => `backendRefs: [{ name: echo-${version}, port: 9090 }]`;

const unimplemented = 12;
const unavailable = 14;

export const grpcFeatures: readonly Feature[] = [
  {
    name: 'GRPCRoute',
    manifest: [
      grpcCase(
        'grpc-exact',
        `
  - matches: [{ method: { service: aura.echo.v1.Echo, method: Say } }]
    ${to('v1')}
  - matches: [{ method: { service: aura.echo.v2.Echo, method: Shout } }]
    ${to('v2')}`,
      ),
      grpcCase(
        'grpc-part',
        `
  - matches: [{ method: { service: aura.echo.v2.Echo } }]
    ${to('v2')}
  - matches: [{ method: { method: Say } }]
    ${to('v1')}`,
      ),
      grpcCase(
        'grpc-regex',
        `
  - matches: [{ method: { type: RegularExpression, service: 'aura[.]echo[.]v[2-9][.].*', method: 'S(ay|ing)' } }]
    ${to('v2')}
  - matches: [{ method: { type: RegularExpression, service: '.*v1.*' } }]
    ${to('v1')}`,
      ),
      grpcCase(
        'grpc-headers',
        `
  - matches: [{ headers: [{ name: version, value: one }] }]
    ${to('v1')}
  - matches: [{ headers: [{ name: version, value: two }] }, { headers: [{ name: color, type: RegularExpression, value: 'bl.*' }] }]
    ${to('v2')}
  - matches: [{ headers: [{ name: version, value: one }, { name: color, value: red }] }]
    ${to('v2')}
  - matches: [{ method: { service: aura.echo.v2.Echo, method: Shout }, headers: [{ name: version, value: two }] }]
    ${to('v1')}`,
      ),
      grpcCase(
        'grpc-weight',
        `
  - backendRefs:
      - { name: echo-v1, port: 9090, weight: 70 }
      - { name: echo-v2, port: 9090, weight: 30 }
      - { name: nosuch, port: 9090, weight: 0 }`,
      ),
      grpcCase('grpc-broken', '  - backendRefs: [{ name: nosuch, port: 9090 }]'),
      grpcCase('grpc-no-weight', '  - backendRefs: [{ name: echo-v1, port: 9090, weight: 0 }]'),
      grpcCase('grpc-half', '  - backendRefs: [{ name: echo-v1, port: 9090 }, { name: nosuch, port: 9090 }]'),
      grpcCase(
        'grpc-change',
        `
  - filters:
      - type: RequestHeaderModifier
        requestHeaderModifier: { set: [{ name: x-set, value: was-set }], add: [{ name: x-add, value: b }], remove: [x-remove] }
      - type: ResponseHeaderModifier
        responseHeaderModifier: { set: [{ name: x-told, value: told }], remove: [x-pod] }
    ${to('v1')}`,
      ),
      grpcCase(
        'grpc-mirror',
        `
  - filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: echo-v2, port: 9090 } } }]
    ${to('v1')}`,
      ),
      // Beside an HTTPRoute of the same Service, each kind takes its own.
      service('grpc-both'),
      route('GRPCRoute', 'grpc-both', ['grpc-both'], `rules:\n  - ${to('v1')}`),
      route(
        'HTTPRoute',
        'grpc-both',
        ['grpc-both'],
        `rules:\n  - backendRefs: [{ name: echo-v2, port: 80 }]`,
      ),
      httpCase('grpc-by-http', `  - matches: [{ path: { type: Exact, value: /${say} } }]\n    ${to('v1')}`),
    ].join(''),
    tests(lab) {
      const call = (front: string, path: string, headers: Record<string, string> = {}) => ({
        url: `http://${front}:9090/${path}`,
        protocol: 'grpc' as const,
        headers,
      });
      const ok = { status: 0, body: 'hello' };

      test('GRPCExactMethodMatching: service and method, else UNIMPLEMENTED', async () => {
        await lab.expect(call('grpc-exact', say), { ...ok, version: 'v1' });
        await lab.expect(call('grpc-exact', shout), { ...ok, version: 'v2' });
        await lab.expect(call('grpc-exact', say2), { status: unimplemented });
      });

      test('a match may name the service or the method alone', async () => {
        await lab.expect(call('grpc-part', say2), { ...ok, version: 'v2' });
        await lab.expect(call('grpc-part', shout), { ...ok, version: 'v2' });
        await lab.expect(call('grpc-part', say), { ...ok, version: 'v1' });
        await lab.expect(call('grpc-part', 'aura.echo.v1.Echo/Talk'), { status: unimplemented });
      });

      test('service and method by regular expression, each as a whole', async () => {
        await lab.expect(call('grpc-regex', say2), { ...ok, version: 'v2' });
        await lab.expect(call('grpc-regex', say), { ...ok, version: 'v1' });
        await lab.expect(call('grpc-regex', shout), { status: unimplemented });
      });

      test('GRPCRouteHeaderMatching: by metadata, more of it before less, the method before it', async () => {
        await lab.expect(call('grpc-headers', say, { version: 'one' }), { ...ok, version: 'v1' });
        await lab.expect(call('grpc-headers', say, { Version: 'two' }), { ...ok, version: 'v2' });
        await lab.expect(call('grpc-headers', say, { color: 'blue' }), { ...ok, version: 'v2' });
        await lab.expect(call('grpc-headers', say, { version: 'one', color: 'red' }), {
          ...ok,
          version: 'v2',
        });
        await lab.expect(call('grpc-headers', shout, { version: 'two' }), { ...ok, version: 'v1' });
        await lab.expect(call('grpc-headers', say), { status: unimplemented });
      });

      test('MeshGRPCRouteWeight: backends get their shares', async () => {
        await lab.expect(call('grpc-weight', say), ok);
        const { v1 = 0, v2 = 0, ...rest } = await lab.shares(call('grpc-weight', say), 600);
        assert.deepEqual(rest, {});
        assert.ok(Math.abs(v1 / (v1 + v2) - 0.7) < 0.12, `v1 ${v1}, v2 ${v2}`);
      });

      test('without a backend that can take them calls are UNAVAILABLE, and the status says why', async () => {
        await lab.expect(call('grpc-broken', say), { status: unavailable });
        await lab.expect(call('grpc-no-weight', say), { status: unavailable });
        const half = await lab.all({ ...call('grpc-half', say), count: 100 });
        const failed = half.filter(({ status }) => status === unavailable).length;
        assert.equal(failed + half.filter(({ status }) => status === 0).length, half.length);
        assert.ok(failed > 20 && failed < 80, `${failed} of ${half.length}`);
        await lab.expectStatus('GRPCRoute', 'grpc-broken', 'grpc-broken', {
          Accepted: 'True Accepted',
          ResolvedRefs: 'False BackendNotFound',
        });
        await lab.expectStatus('GRPCRoute', 'grpc-exact', 'grpc-exact', {
          Accepted: 'True Accepted',
          ResolvedRefs: 'True ResolvedRefs',
        });
      });

      test('metadata of calls and answers is changed', async () => {
        const headers = { 'x-set': 'a', 'x-add': 'a', 'x-remove': 'a' };
        await lab.expect(
          call('grpc-change', say, headers),
          { ...ok, headers: { 'x-told': 'told', 'x-pod': undefined } },
          (answer) => {
            const seen = JSON.parse(answer.headers['x-seen'] ?? '{}') as Record<string, string>;
            assert.deepEqual(
              [seen['x-set'], seen['x-add'], seen['x-remove']],
              ['was-set', 'a, b', undefined],
            );
          },
        );
      });

      test('calls are mirrored', async () => {
        await lab.expect(call('grpc-mirror', say), { ...ok, version: 'v1' });
        const mark = lab.mark();
        await lab.one(call('grpc-mirror', say2, { 'x-echo-remember': mark }));
        const [copy] = await eventually('the copy', async () => {
          const copies = await lab.recall(mark, 'v2');
          return copies.length > 0 && copies;
        });
        assert.equal(copy?.path, `/${say2}`);
      });

      test('beside an HTTPRoute, each kind takes its own; an HTTPRoute takes calls as well', async () => {
        await lab.expect(call('grpc-both', say), { ...ok, version: 'v1' });
        await lab.expect({ url: 'http://grpc-both/' }, { version: 'v2' });
        await lab.expect(call('grpc-by-http', say), { ...ok, version: 'v1' });
        await lab.expect(call('grpc-by-http', say2), { status: unimplemented });
      });

      test('an error of the application stays as it is', async () => {
        await lab.expect(call('grpc-exact', say, { 'x-status': '9' }), {
          status: 9,
          body: 'failed on demand',
        });
      });
    },
  },
  {
    name: 'GRPCRouteNamedRouteRule',
    manifest: grpcCase(
      'grpc-named',
      `
  - name: says
    matches: [{ method: { service: aura.echo.v1.Echo } }]
    ${to('v1')}
  - name: rest
    ${to('v2')}`,
    ),
    tests(lab) {
      test('rules with names do what rules do', async () => {
        const call = { protocol: 'grpc' as const };
        await lab.expect({ ...call, url: `http://grpc-named:9090/${say}` }, { status: 0, version: 'v1' });
        await lab.expect({ ...call, url: `http://grpc-named:9090/${say2}` }, { status: 0, version: 'v2' });
        await lab.expectStatus('GRPCRoute', 'grpc-named', 'grpc-named', { Accepted: 'True Accepted' });
      });
    },
  },
];

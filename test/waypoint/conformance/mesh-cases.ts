// The feature Mesh: that a Service is a parent at all. After the cases MeshBasic, MeshTrafficSplit, MeshFrontend,
// MeshFrontendHostname, MeshPorts, MeshHTTPRouteSimpleSameNamespace and …Weight of the suite.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { away, httpCase, mesh, route, service } from './backends.ts';
import { reportOf } from './conformance-lab.ts';
import type { Feature } from './feature.ts';

const named = (value: string): string =>
  `filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-front, value: ${value} }] } }]`;

const manyRequests = 600;

export const meshFeature: Feature = {
  name: 'Mesh',
  manifest: [
    service('basic'),
    httpCase('simple', '  - backendRefs: [{ name: echo-v1, port: 8080 }]'),
    httpCase(
      'split',
      `
  - matches: [{ path: { type: Exact, value: /v1 } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { type: Exact, value: /v2 } }]
    backendRefs: [{ name: echo-v2, port: 80 }]`,
    ),
    httpCase(
      'weight',
      `
  - backendRefs:
      - { name: echo-v1, port: 80, weight: 70 }
      - { name: echo-v2, port: 80, weight: 30 }
      - { name: nosuch, port: 80, weight: 0 }`,
    ),
    httpCase(
      'no-weight',
      `
  - matches: [{ path: { value: /zero } }]
    backendRefs: [{ name: echo-v1, port: 80, weight: 0 }]
  - matches: [{ path: { value: /none } }]`,
    ),
    httpCase('frontend', `  - backendRefs: [{ name: frontend, port: 80 }]\n    ${named('frontend')}`),
    httpCase('cross', `  - backendRefs: [{ name: echo, namespace: ${away}, port: 80 }]`),
    service('twins-a'),
    service('twins-b'),
    route(
      'HTTPRoute',
      'twins',
      ['twins-a', 'twins-b'],
      `rules:\n  - backendRefs: [{ name: echo-v2, port: 80 }]`,
    ),
  ].join(''),
  tests(lab) {
    test('MeshBasic: a Service without a route answers with all of its pods', async () => {
      const answers = await lab.all({ url: 'http://basic/', count: 40 });
      assert.deepEqual(
        [...new Set(answers.map(({ status, headers }) => `${status} ${headers['x-version']}`))].sort(),
        ['200 v1', '200 v2'],
      );
    });

    test('MeshHTTPRouteSimpleSameNamespace: one rule without a match sends all to its backend', async () => {
      await lab.expect(
        { url: 'http://simple/any?path=1' },
        { version: 'v1', path: '/any?path=1', host: 'simple' },
      );
      assert.deepEqual(await lab.shares({ url: 'http://simple/' }, 20), { v1: 20 });
    });

    test('MeshTrafficSplit: rules by path have backends of their own, and what none matches is 404', async () => {
      await lab.expect({ url: 'http://split/v1' }, { version: 'v1' });
      await lab.expect({ url: 'http://split/v2' }, { version: 'v2' });
      await lab.expect({ url: 'http://split/other' }, { status: 404 });
      await lab.expect({ url: 'http://split/v1/more' }, { status: 404 });
    });

    test('MeshHTTPRouteWeight: backends get their shares, and one of weight 0 gets none', async () => {
      await lab.expect({ url: 'http://weight/' }, {});
      const { v1 = 0, v2 = 0, ...rest } = await lab.shares({ url: 'http://weight/' }, manyRequests);
      assert.deepEqual(rest, {});
      // Over six standard deviations of 600 draws.
      assert.ok(Math.abs(v1 / (v1 + v2) - 0.7) < 0.12, `v1 ${v1}, v2 ${v2}`);
    });

    test('a rule without backends, or without any weight, is 500', async () => {
      await lab.expect({ url: 'http://no-weight/zero' }, { status: 500 });
      await lab.expect({ url: 'http://no-weight/none' }, { status: 500 });
    });

    test('MeshFrontend: a route of the Service’s namespace holds for clients of every namespace', async () => {
      for (const from of [mesh, away])
        await lab.expect(
          { url: `http://frontend.${mesh}/` },
          { headers: { 'x-front': 'frontend' } },
          undefined,
          from,
        );
    });

    test('MeshFrontendHostname: every name of the Service leads to the route, whatever Host says', async () => {
      for (const host of [`frontend.${mesh}.svc`, `frontend.${mesh}.svc.cluster.local`])
        await lab.expect({ url: `http://${host}/` }, { headers: { 'x-front': 'frontend' } }, undefined, away);
      await lab.expect(
        { url: `http://frontend.${mesh}/`, headers: { host: 'else.example' } },
        { headers: { 'x-front': 'frontend' }, host: 'else.example' },
      );
    });

    test('a backend of another namespace is used: a mesh asks for no grant', async () => {
      await lab.expect({ url: 'http://cross/' }, { version: 'v3' });
      await lab.expectStatus('HTTPRoute', 'cross', 'cross', {
        Accepted: 'True Accepted',
        ResolvedRefs: 'True ResolvedRefs',
      });
    });

    test('a route with several parents holds for each, and has a status for each', async () => {
      for (const parent of ['twins-a', 'twins-b']) {
        await lab.expect({ url: `http://${parent}/` }, { version: 'v2' });
        await lab.expectStatus('HTTPRoute', 'twins', parent, { Accepted: 'True Accepted' });
      }
    });

    test('a change of a route is live, a route that is gone is not, and its generation is observed', async () => {
      const front = service('changing');
      const to = (version: string): string =>
        route(
          'HTTPRoute',
          'changing',
          ['changing'],
          `rules:\n  - backendRefs: [{ name: echo-${version}, port: 80 }]`,
        );
      await lab.lab.apply(front + to('v1'));
      await lab.expect({ url: 'http://changing/' }, { version: 'v1' });
      const before = await lab.expectStatus('HTTPRoute', 'changing', 'changing', {
        Accepted: 'True Accepted',
      });
      await lab.lab.apply(to('v2'));
      await lab.expect({ url: 'http://changing/' }, { version: 'v2' });
      const after = await lab.expectStatus('HTTPRoute', 'changing', 'changing', {
        Accepted: 'True Accepted',
      });
      const generation = ({ conditions }: typeof after): number => conditions[0]?.observedGeneration ?? 0;
      assert.ok(generation(after) > generation(before));
      await lab.lab.mustKubectl(['delete', 'httproute', '-n', mesh, 'changing']);
      await lab.expect({ url: 'http://changing/' }, { version: 'v1' });
    });
  },
};

export const clusterIpFeature: Feature = {
  name: 'MeshClusterIPMatching',
  manifest: httpCase('cluster-ip', `  - backendRefs: [{ name: echo-v1, port: 80 }]\n    ${named('ip')}`),
  tests(lab) {
    test('the Service’s address leads to its route, with any Host, and a pod’s own address does not', async () => {
      const ip = (
        await lab.lab.mustKubectl([
          'get',
          'svc',
          '-n',
          mesh,
          'cluster-ip',
          '-o',
          'jsonpath={.spec.clusterIP}',
        ])
      ).trim();
      for (const headers of [{}, { host: 'cluster-ip' }, { host: 'split' }])
        await lab.expect({ url: `http://${ip}/`, headers }, { headers: { 'x-front': 'ip' }, version: 'v1' });
      const answer = await lab.expect({ url: 'http://cluster-ip/' }, { headers: { 'x-front': 'ip' } });
      const pod = (
        await lab.lab.mustKubectl([
          'get',
          'pod',
          '-n',
          mesh,
          reportOf(answer).pod,
          '-o',
          'jsonpath={.status.podIP}',
        ])
      ).trim();
      await lab.expect({ url: `http://${pod}:8080/` }, { headers: { 'x-front': undefined }, version: 'v1' });
    });
  },
};

export const portFeature: Feature = {
  name: 'HTTPRouteParentRefPort',
  manifest: [
    service('ports'),
    route(
      'HTTPRoute',
      'ports',
      [`{ group: '', kind: Service, name: ports, port: 80 }`],
      `rules:\n  - backendRefs: [{ name: echo-v1, port: 80 }]\n    ${named('eighty')}`,
    ),
    service('each-port'),
    route(
      'HTTPRoute',
      'each-port-80',
      [`{ group: '', kind: Service, name: each-port, port: 80 }`],
      `rules:\n  - backendRefs: [{ name: echo-v1, port: 80 }]`,
    ),
    route(
      'HTTPRoute',
      'each-port-8080',
      [`{ group: '', kind: Service, name: each-port, sectionName: http-alt }`],
      `rules:\n  - backendRefs: [{ name: echo-v2, port: 8080 }]`,
    ),
    route(
      'HTTPRoute',
      'no-port',
      [`{ group: '', kind: Service, name: ports, port: 4444 }`, `{ group: '', kind: Service, name: nosuch }`],
      `rules:\n  - backendRefs: [{ name: echo-v1, port: 80 }]`,
    ),
  ].join(''),
  tests(lab) {
    test('MeshPorts: a route for one port leaves the others as they are', async () => {
      await lab.expect({ url: 'http://ports/' }, { headers: { 'x-front': 'eighty' } });
      await lab.expect({ url: 'http://ports:8080/' }, { headers: { 'x-front': undefined } });
      assert.deepEqual(Object.keys(await lab.shares({ url: 'http://ports:8080/' }, 40)).sort(), ['v1', 'v2']);
    });

    test('each port has its own route, by number and by name', async () => {
      await lab.expect({ url: 'http://each-port/' }, { version: 'v1' });
      await lab.expect({ url: 'http://each-port:8080/' }, { version: 'v2' });
    });

    test('a port or a parent that does not exist is NoMatchingParent, for that parent', async () => {
      await lab.expectStatus('HTTPRoute', 'no-port', 'ports', { Accepted: 'False NoMatchingParent' });
      await lab.expectStatus('HTTPRoute', 'no-port', 'nosuch', { Accepted: 'False NoMatchingParent' });
    });
  },
};

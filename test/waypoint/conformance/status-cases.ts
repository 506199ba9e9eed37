// What a route's status says, and what becomes of requests meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../lab/test-lab.ts';
import { away, httpCase, mesh, route, service } from './backends.ts';
import type { Feature } from './feature.ts';

/** Of routes, whatever class their parent is of; as upstream. */
const controller = 'istio.io/gateway-controller';

export const statusManifest = [
  httpCase('unknown-kind', '  - backendRefs: [{ group: example.com, kind: Nonsense, name: echo, port: 80 }]'),
  httpCase('no-backend', '  - backendRefs: [{ name: nosuch, port: 80 }]'),
  httpCase('no-backend-port', '  - backendRefs: [{ name: echo-v1, port: 81 }]'),
  httpCase(
    'half',
    `
  - matches: [{ path: { value: /good } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { value: /bad } }]
    backendRefs: [{ name: nosuch, port: 80 }]
  - matches: [{ path: { value: /mixed } }]
    backendRefs: [{ name: echo-v2, port: 80 }, { name: nosuch, port: 80 }]`,
  ),
  httpCase(
    'extension',
    `
  - matches: [{ path: { value: /extended } }]
    filters: [{ type: ExtensionRef, extensionRef: { group: example.com, kind: Filter, name: x } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { value: /plain } }]
    backendRefs: [{ name: echo-v1, port: 80 }]`,
  ),
  service('nobody', 'app: nobody'),
  httpCase('empty', '  - backendRefs: [{ name: nobody, port: 80 }]'),
  service('both-names'),
  route(
    'HTTPRoute',
    'both-names',
    [`{ group: '', kind: Service, name: both-names, port: 80, sectionName: http-alt }`],
    'rules:\n  - backendRefs: [{ name: echo-v1, port: 80 }]',
  ),
  httpCase('later', '  - backendRefs: [{ name: comes-later, port: 80 }]'),
  service('many-parents'),
  route(
    'HTTPRoute',
    'many-parents',
    [
      'many-parents',
      'nosuch',
      `{ group: '', kind: Service, name: echo, namespace: ${away} }`,
      `{ group: gateway.networking.k8s.io, kind: Gateway, name: nosuch }`,
      `{ group: example.com, kind: Other, name: other }`,
    ],
    'rules:\n  - backendRefs: [{ name: echo-v1, port: 80 }]',
  ),
  route(
    'HTTPRoute',
    'to-waypoint',
    ['{ group: gateway.networking.k8s.io, kind: Gateway, name: waypoint }'],
    `hostnames: [by-waypoint.example]\nrules:\n  - backendRefs: [{ name: echo-v2, port: 80 }]`,
  ),
  route(
    'HTTPRoute',
    'consumer',
    [`{ group: '', kind: Service, name: basic, namespace: ${mesh} }`],
    'rules:\n  - backendRefs: [{ name: echo, port: 80 }]',
    away,
  ),
].join('');

export const statusTests: Feature['tests'] = (lab) => {
  test('a backend of an unknown kind is InvalidKind and 500', async () => {
    await lab.expectStatus('HTTPRoute', 'unknown-kind', 'unknown-kind', {
      Accepted: 'True Accepted',
      ResolvedRefs: 'False InvalidKind',
    });
    await lab.expect({ url: 'http://unknown-kind/' }, { status: 500 });
  });

  test('a backend that does not exist, or has no such port, is BackendNotFound and 500', async () => {
    for (const name of ['no-backend', 'no-backend-port']) {
      await lab.expectStatus('HTTPRoute', name, name, {
        Accepted: 'True Accepted',
        ResolvedRefs: 'False BackendNotFound',
      });
      await lab.expect({ url: `http://${name}/` }, { status: 500 });
    }
  });

  test('a backend without endpoints is 503, and all references are resolved', async () => {
    await lab.expect({ url: 'http://empty/' }, { status: 503 });
    await lab.expectStatus('HTTPRoute', 'empty', 'empty', { ResolvedRefs: 'True ResolvedRefs' });
  });

  test('a port and a name that are not of one port match no parent', async () => {
    await lab.expectStatus('HTTPRoute', 'both-names', 'both-names', { Accepted: 'False NoMatchingParent' });
  });

  test('of several rules and backends only the broken ones fail, in their share', async () => {
    await lab.expectStatus('HTTPRoute', 'half', 'half', {
      Accepted: 'True Accepted',
      ResolvedRefs: 'False BackendNotFound',
    });
    await lab.expect({ url: 'http://half/good' }, { version: 'v1' });
    await lab.expect({ url: 'http://half/bad' }, { status: 500 });
    const { v2 = 0, 'status 500': failed = 0, ...rest } = await lab.shares({ url: 'http://half/mixed' }, 200);
    assert.deepEqual(rest, {});
    assert.ok(Math.abs(v2 / 200 - 0.5) < 0.2, `${v2} and ${failed}`);
  });

  test('a filter that is not known never passes a request on without it', async () => {
    await lab.expectStatus('HTTPRoute', 'extension', 'extension', {
      Accepted: 'True Accepted',
      PartiallyInvalid: 'True UnsupportedValue',
    });
    await lab.expect({ url: 'http://extension/extended' }, { status: 500 });
    await lab.expect({ url: 'http://extension/plain' }, { version: 'v1' });
  });

  test('a backend that comes later is taken, and the status follows', async () => {
    await lab.expectStatus('HTTPRoute', 'later', 'later', { ResolvedRefs: 'False BackendNotFound' });
    await lab.lab.apply(service('comes-later', 'app: echo, version: v2'));
    await lab.expectStatus('HTTPRoute', 'later', 'later', { ResolvedRefs: 'True ResolvedRefs' });
    await lab.expect({ url: 'http://later/' }, { version: 'v2' });
  });

  test('each parent of a route has its own status; who is no parent of ours has none from us', async () => {
    await lab.expectStatus('HTTPRoute', 'many-parents', 'many-parents', { Accepted: 'True Accepted' });
    await lab.expectStatus('HTTPRoute', 'many-parents', 'nosuch', { Accepted: 'False NoMatchingParent' });
    const { status } = await lab.get('HTTPRoute', 'many-parents');
    const parents = status?.parents ?? [];
    assert.deepEqual(
      parents.map(({ parentRef }) => `${String(parentRef['kind'])} ${String(parentRef['name'])}`).sort(),
      ['Service echo', 'Service many-parents', 'Service nosuch'],
    );
    for (const { controllerName } of parents) assert.equal(controllerName, controller);
    await lab.expect({ url: 'http://many-parents/' }, { version: 'v1' });
    // The echo of the other namespace is not ours to route.
    await lab.expect({ url: `http://echo.${away}/` }, { version: 'v3' });
  });

  test('the status of a parent that is not named any more goes, and what other controllers wrote stays', async () => {
    const name = 'fewer-parents';
    const to = (parents: readonly string[]): string =>
      route('HTTPRoute', name, parents, 'rules:\n  - backendRefs: [{ name: echo-v1, port: 80 }]');
    await lab.lab.apply(to(['basic', 'echo']));
    for (const parent of ['basic', 'echo'])
      await lab.expectStatus('HTTPRoute', name, parent, { Accepted: 'True Accepted' });
    const { status } = await lab.get('HTTPRoute', name);
    const foreign = {
      parentRef: { group: 'example.com', kind: 'Other', name: 'other' },
      controllerName: 'example.com/controller',
      conditions: [
        {
          type: 'Accepted',
          status: 'True',
          reason: 'Accepted',
          message: '',
          lastTransitionTime: '2026-01-01T00:00:00Z',
          observedGeneration: 1,
        },
      ],
    };
    const patch = JSON.stringify({ status: { parents: [foreign, ...(status?.parents ?? [])] } });
    const where = ['patch', 'httproute', '-n', mesh, name, '--subresource=status', '--type=merge'];
    await lab.lab.mustKubectl([...where, '-p', patch]);
    await lab.lab.apply(to(['echo']));
    await lab.expectStatus('HTTPRoute', name, 'echo', { Accepted: 'True Accepted' });
    await eventually('the other parent is gone', async () => {
      const after = await lab.get('HTTPRoute', name);
      const names = after.status?.parents?.map(({ parentRef }) => String(parentRef['name'])).sort();
      return JSON.stringify(names) === JSON.stringify(['echo', 'other']);
    });
    await lab.lab.mustKubectl(['delete', 'httproute', '-n', mesh, name]);
  });

  test('a route of a consumer’s namespace is told that it is not used, and changes nothing', async () => {
    const { conditions } = await lab.expectStatus('HTTPRoute', 'consumer', 'basic', {}, away);
    assert.equal(conditions.find(({ type }) => type === 'Accepted')?.status, 'False');
    await lab.expect({ url: `http://basic.${mesh}/` }, {}, undefined, away);
    const { v3 = 0 } = await lab.shares({ url: 'http://basic/' }, 10);
    assert.equal(v3, 0);
  });

  test('a route of the waypoint itself takes the hosts that it names', async () => {
    await lab.expect({ url: 'http://basic/', headers: { host: 'by-waypoint.example' } }, { version: 'v2' });
    await lab.expectStatus('HTTPRoute', 'to-waypoint', 'waypoint', { Accepted: 'True Accepted' });
    assert.deepEqual(Object.keys(await lab.shares({ url: 'http://basic/' }, 40)).sort(), ['v1', 'v2']);
  });
};

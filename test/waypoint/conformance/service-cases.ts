// Kinds of Services that a route may lead to, clients of HTTP/2, and what of a route does not count in a mesh. Of the
// feature HTTPRoute itself; after HTTPRouteServiceTypes of the suite.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { httpCase, mesh, route, service } from './backends.ts';
import type { Feature } from './feature.ts';

const noSelector = (name: string, more = ''): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${mesh} }
spec: { ${more}ports: [{ name: http, port: 8080, targetPort: 8080 }] }
---`;

export const serviceManifest = [
  `
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: ${mesh} }
spec: { clusterIP: None, selector: { app: echo, version: v2 }, ports: [{ name: http, port: 8080, targetPort: 8080 }] }
---`,
  noSelector('by-hand'),
  noSelector('headless-by-hand', 'clusterIP: None, '),
  httpCase(
    'service-kinds',
    ['headless', 'by-hand', 'headless-by-hand']
      .map(
        (name) => `
  - matches: [{ path: { value: /${name} } }]
    backendRefs: [{ name: ${name}, port: 8080 }]`,
      )
      .join(''),
  ),
  `${service('unbound').replace('namespace:', 'labels: { istio.io/use-waypoint: none }, namespace:')}`,
  route('HTTPRoute', 'unbound', ['unbound'], 'rules:\n  - backendRefs: [{ name: nosuch, port: 80 }]'),
  service('any-host'),
  route(
    'HTTPRoute',
    'any-host',
    ['any-host'],
    'hostnames: [only.example]\nrules:\n  - backendRefs: [{ name: echo-v2, port: 80 }]',
  ),
  httpCase(
    'http2',
    `
  - matches: [{ path: { value: /changed }, method: PUT, headers: [{ name: a, value: b }], queryParams: [{ name: c, value: d }] }]
    filters:
      - { type: URLRewrite, urlRewrite: { hostname: new.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }
      - { type: RequestHeaderModifier, requestHeaderModifier: { add: [{ name: x-new, value: new }] } }
      - { type: ResponseHeaderModifier, responseHeaderModifier: { add: [{ name: x-told, value: told }] } }
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { value: /moved } }]
    filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, statusCode: 301 } }]
  - matches: [{ path: { value: /late } }]
    timeouts: { request: 200ms }
    backendRefs: [{ name: echo-v1, port: 80 }]`,
  ),
].join('');

const slice = (name: string, ip: string): unknown => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${name}-1`, namespace: mesh, labels: { 'kubernetes.io/service-name': name } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  endpoints: [{ addresses: [ip], conditions: { ready: true } }],
});

export const serviceTests: Feature['tests'] = (lab) => {
  before(async () => {
    const ip = await lab.lab.mustKubectl([
      'get',
      'pods',
      '-n',
      mesh,
      '--selector=app=echo,version=v1',
      '-o',
      'jsonpath={.items[0].status.podIP}',
    ]);
    for (const name of ['by-hand', 'headless-by-hand'])
      await lab.lab.apply(JSON.stringify(slice(name, ip.trim())));
  });

  test('a backend may be headless, and have its endpoints written by hand', async () => {
    await lab.expect({ url: 'http://service-kinds/headless' }, { version: 'v2' });
    await lab.expect({ url: 'http://service-kinds/by-hand' }, { version: 'v1' });
    await lab.expect({ url: 'http://service-kinds/headless-by-hand' }, { version: 'v1' });
    await lab.expectStatus('HTTPRoute', 'service-kinds', 'service-kinds', {
      Accepted: 'True Accepted',
      ResolvedRefs: 'True ResolvedRefs',
    });
  });

  test('hostnames of a route do not count where the parent is a Service', async () => {
    await lab.expect({ url: 'http://any-host/' }, { version: 'v2' });
    await lab.expect({ url: 'http://any-host/', headers: { host: 'only.example' } }, { version: 'v2' });
  });

  test('a client of HTTP/2 gets the same of a route', async () => {
    const ask = {
      url: 'http://http2/changed/x?c=d',
      protocol: 'h2c' as const,
      method: 'PUT',
      headers: { a: 'b' },
    };
    await lab.expect(ask, {
      method: 'PUT',
      path: '/new/x?c=d',
      host: 'new.example',
      protocol: 'HTTP/1.1',
      seen: { 'x-new': 'new' },
      headers: { 'x-told': 'told' },
    });
    await lab.expect({ ...ask, method: 'GET' }, { status: 404 });
    const location = 'https://http2/moved';
    await lab.expect(
      { ...ask, url: 'http://http2/moved', method: 'GET' },
      { status: 301, headers: { location } },
    );
    const late = { 'x-echo-delay': '3000' };
    await lab.expect({ ...ask, url: 'http://http2/late', headers: late }, { status: 504 });
  });

  test('a route is bound to the waypoint of its parent, and says so', async () => {
    const { conditions } = await lab.expectStatus('HTTPRoute', 'any-host', 'any-host', {
      ResolvedWaypoints: 'True ResolvedWaypoints',
    });
    const message = conditions.find(({ type }) => type === 'ResolvedWaypoints')?.message ?? '';
    assert.match(message, new RegExp(`bound to ${mesh}/waypoint`));
  });

  test('a route of a Service that has no waypoint is accepted, has no effect, and says so', async () => {
    const { conditions } = await lab.expectStatus('HTTPRoute', 'unbound', 'unbound', {
      Accepted: 'True Accepted',
      ResolvedRefs: 'False BackendNotFound',
      ResolvedWaypoints: 'True ResolvedWaypoints',
    });
    const message = conditions.find(({ type }) => type === 'ResolvedWaypoints')?.message ?? '';
    assert.match(message, /not bound to a waypoint/);
    await lab.expect({ url: 'http://unbound/' }, { seen: { 'x-request-id': undefined } });
  });
};

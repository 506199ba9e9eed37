// The CORS filter.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpCase } from './backends.ts';
import type { Feature } from './feature.ts';

const rule = (path: string, cors: string): string => `
  - matches: [{ path: { value: ${path} } }]
    filters: [{ type: CORS, cors: { ${cors} } }]
    backendRefs: [{ name: echo-v1, port: 80 }]`;

const words = (value: string | undefined): string[] =>
  (value ?? '')
    .split(',')
    .map((word) => word.trim())
    .sort();

export const corsFeature: Feature = {
  name: 'HTTPRouteCORS',
  manifest: httpCase(
    'cors',
    [
      rule(
        '/listed',
        `allowOrigins: ["https://www.foo.com", "https://*.bar.com"], allowMethods: [GET, OPTIONS],
        allowHeaders: [x-header-1, x-header-2], exposeHeaders: [x-header-3, x-header-4],
        maxAge: 3600, allowCredentials: true`,
      ),
      rule('/any-method', `allowOrigins: ["https://www.foo.com"], allowMethods: ["*"]`),
      rule('/any-origin', `allowOrigins: ["*"], allowMethods: [PUT]`),
      rule(
        '/any-credentials',
        `allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], allowCredentials: true`,
      ),
      `
  - matches: [{ path: { value: /late } }]
    filters: [{ type: CORS, cors: { allowOrigins: ["https://www.foo.com"] } }]
    timeouts: { request: 200ms }
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { value: /gone } }]
    filters: [{ type: CORS, cors: { allowOrigins: ["https://www.foo.com"] } }]
    backendRefs: [{ name: nobody, port: 80 }]
  - matches: [{ path: { value: /moved } }]
    filters:
      - { type: CORS, cors: { allowOrigins: ["https://www.foo.com"] } }
      - { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-set, value: set-value }] } }
      - { type: RequestRedirect, requestRedirect: { hostname: example.org } }`,
    ].join(''),
  ),
  tests(lab) {
    const preflight = (path: string, origin: string, more: Record<string, string> = {}) =>
      lab.expect(
        {
          url: `http://cors${path}`,
          method: 'OPTIONS',
          headers: { origin, 'access-control-request-method': 'GET', ...more },
        },
        {},
      );

    for (const origin of ['https://www.foo.com', 'https://www.bar.com', 'https://very.deep.bar.com'])
      test(`a preflight of ${origin} is answered by the waypoint`, async () => {
        const { headers, body } = await preflight('/listed', origin, {
          'access-control-request-headers': 'x-header-1, x-header-2',
        });
        assert.equal(body, '');
        assert.equal(headers['x-version'], undefined);
        assert.equal(headers['access-control-allow-origin'], origin);
        assert.deepEqual(words(headers['access-control-allow-methods']), ['GET', 'OPTIONS']);
        assert.deepEqual(words(headers['access-control-allow-headers']), ['x-header-1', 'x-header-2']);
        assert.deepEqual(words(headers['access-control-expose-headers']), ['x-header-3', 'x-header-4']);
        assert.equal(headers['access-control-max-age'], '3600');
        assert.equal(headers['access-control-allow-credentials'], 'true');
      });

    test('an origin that is not listed gets no CORS headers, before and with the request itself', async () => {
      for (const origin of [
        'https://foobar.com',
        'http://www.foo.com',
        'https://bar.com',
        'https://xbar.com',
      ])
        for (const method of ['OPTIONS', 'GET']) {
          const { headers } = await lab.expect(
            {
              url: 'http://cors/listed',
              method,
              headers: { origin, 'access-control-request-method': 'GET' },
            },
            {},
          );
          assert.deepEqual(
            Object.keys(headers).filter((name) => name.startsWith('access-control-')),
            [],
            origin,
          );
        }
    });

    test('the request itself gets to the backend, and its response says who may read it', async () => {
      for (const origin of ['https://www.foo.com', 'https://a.bar.com']) {
        const { headers } = await lab.expect(
          { url: 'http://cors/listed', headers: { origin } },
          { version: 'v1', seen: { origin } },
        );
        assert.equal(headers['access-control-allow-origin'], origin);
        assert.equal(headers['access-control-allow-credentials'], 'true');
        assert.deepEqual(words(headers['access-control-expose-headers']), ['x-header-3', 'x-header-4']);
      }
      await lab.expect(
        { url: 'http://cors/listed' },
        { version: 'v1', headers: { 'access-control-allow-origin': undefined } },
      );
    });

    test('a wildcard of methods allows each, and credentials are not mentioned where they are not allowed', async () => {
      const { headers } = await preflight('/any-method', 'https://www.foo.com', {
        'access-control-request-method': 'POST',
      });
      assert.ok(['*', 'POST'].includes(headers['access-control-allow-methods'] ?? ''));
      assert.equal(headers['access-control-allow-credentials'], undefined);
      assert.equal(headers['access-control-max-age'], '5');
    });

    test('a wildcard of origins allows each, with a port, too', async () => {
      for (const origin of ['https://foobar.com', 'https://foobar.com:12345']) {
        const before = await preflight('/any-origin', origin, { 'access-control-request-method': 'PUT' });
        assert.ok(['*', origin].includes(before.headers['access-control-allow-origin'] ?? ''));
        assert.equal(before.headers['access-control-allow-methods'], 'PUT');
        const itself = await lab.expect(
          { url: 'http://cors/any-origin', method: 'PUT', headers: { origin } },
          { method: 'PUT' },
        );
        assert.ok(['*', origin].includes(itself.headers['access-control-allow-origin'] ?? ''));
      }
    });

    test('errors and redirects of the waypoint may be read as well', async () => {
      const origin = 'https://www.foo.com';
      const allowed = { 'access-control-allow-origin': origin };
      await lab.expect(
        { url: 'http://cors/moved', headers: { origin } },
        { status: 302, headers: { ...allowed, 'x-set': 'set-value' } },
      );
      await lab.expect({ url: 'http://cors/gone', headers: { origin } }, { status: 503, headers: allowed });
      await lab.expect(
        { url: 'http://cors/late', headers: { origin, 'x-echo-delay': '3000' } },
        { status: 504, headers: allowed },
      );
    });

    test('with credentials no answer has a wildcard', async () => {
      const origin = 'https://other.foo.com';
      const asked = { 'access-control-request-method': 'PUT', 'access-control-request-headers': 'x-a, x-b' };
      const { headers } = await preflight('/any-credentials', origin, asked);
      assert.equal(headers['access-control-allow-origin'], origin);
      assert.equal(headers['access-control-allow-methods'], 'PUT');
      assert.deepEqual(words(headers['access-control-allow-headers']), ['x-a', 'x-b']);
      assert.equal(headers['access-control-allow-credentials'], 'true');
      const itself = await lab.expect(
        { url: 'http://cors/any-credentials', headers: { origin, cookie: 'a=b' } },
        { headers: { 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true' } },
      );
      assert.ok(!Object.values(itself.headers).includes('*'));
    });
  },
};

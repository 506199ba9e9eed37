// Rewrites of host and path.
import { test } from 'node:test';
import { httpCase } from './backends.ts';
import type { Feature } from './feature.ts';

const rule = (path: string, rewrite: string, more = ''): string => `
  - matches: [{ path: { type: PathPrefix, value: ${path} } }]
    filters: [{ type: URLRewrite, urlRewrite: { ${rewrite} } }${more}]
    backendRefs: [{ name: echo-v1, port: 80 }]`;

const full = (path: string): string => `path: { type: ReplaceFullPath, replaceFullPath: ${path} }`;
const prefix = (path: string): string => `path: { type: ReplacePrefixMatch, replacePrefixMatch: ${path} }`;

const pathFeature = (name: string, front: string): Feature => ({
  name,
  manifest: httpCase(
    front,
    [
      rule('/prefix/one', prefix('/one')),
      rule('/strip-prefix', prefix('/')),
      rule('/slashes/', prefix('/s/')),
      rule('/full/one', full('/one')),
      rule(
        '/full/headers',
        full('/two'),
        `, { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-set, value: yes-set }], remove: [x-remove] } }`,
      ),
      rule('/host-and-path', `${prefix('/one')}, hostname: one.example`),
    ].join(''),
  ),
  tests(lab) {
    const expect = (from: string, path: string, more = {}, headers = {}) =>
      lab.expect({ url: `http://${front}${from}`, headers }, { version: 'v1', path, host: front, ...more });

    test('a prefix is replaced by whole elements, and the rest and the query stay', async () => {
      await expect('/prefix/one/two', '/one/two');
      await expect('/prefix/one', '/one');
      await expect('/prefix/one/?a=b%20c', '/one/?a=b%20c');
      await expect('/strip-prefix/three', '/three');
      await expect('/strip-prefix', '/');
      await expect('/strip-prefix/?x', '/?x');
      await expect('/slashes', '/s');
      await expect('/slashes/x', '/s/x');
    });

    test('a path is replaced as a whole, beside changes of headers', async () => {
      await expect('/full/one/two?a=b', '/one?a=b');
      await expect(
        '/full/headers/x',
        '/two',
        { seen: { 'x-set': 'yes-set', 'x-remove': undefined } },
        { 'x-remove': 'here', 'x-set': 'old' },
      );
      await expect('/host-and-path/x', '/one/x', { host: 'one.example' });
    });
  },
});

export const rewriteFeatures: readonly Feature[] = [
  pathFeature('HTTPRoutePathRewrite', 'rewrite-path'),
  pathFeature('MeshHTTPRouteRewritePath', 'mesh-rewrite-path'),
  {
    name: 'HTTPRouteHostRewrite',
    manifest: httpCase(
      'rewrite-host',
      [
        rule('/one', 'hostname: one.example.org'),
        rule(
          '/headers',
          'hostname: two.example.org',
          `, { type: RequestHeaderModifier, requestHeaderModifier: { add: [{ name: x-add, value: added }] } }`,
        ),
        `
  - backendRefs: [{ name: echo-v2, port: 80 }]`,
      ].join(''),
    ),
    tests(lab) {
      test('the backend sees the host of the rewrite, and only where there is one', async () => {
        await lab.expect({ url: 'http://rewrite-host/one' }, { host: 'one.example.org', path: '/one' });
        await lab.expect(
          { url: 'http://rewrite-host:8080/one', headers: { host: 'asked.example' } },
          { host: 'one.example.org' },
        );
        await lab.expect(
          { url: 'http://rewrite-host/headers' },
          { host: 'two.example.org', seen: { 'x-add': 'added' } },
        );
        await lab.expect({ url: 'http://rewrite-host/' }, { host: 'rewrite-host', version: 'v2' });
      });
    },
  },
];

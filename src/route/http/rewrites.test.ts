import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpMatch, PathRewrite, Redirect } from '#/model/index.ts';
import { compileRedirect, redirectLocation } from './redirects.ts';
import { authorityChange, changeHeaders, compilePathRewrite } from './rewrites.ts';
import { aRequest, elements, exact, prefix, regex, type RequestParts } from './test-requests.ts';

test('paths', () => {
  const replace = (value: string): PathRewrite => ({ kind: 'prefix', value });
  const rows: readonly [HttpMatch | undefined, PathRewrite, string, string][] = [
    // Gateway API's table.
    [{ path: elements('/foo') }, replace('/xyz'), '/foo/bar', '/xyz/bar'],
    [{ path: elements('/foo') }, replace('/xyz/'), '/foo/bar', '/xyz/bar'],
    [{ path: elements('/foo/') }, replace('/xyz'), '/foo/bar', '/xyz/bar'],
    [{ path: elements('/foo/') }, replace('/xyz/'), '/foo/bar', '/xyz/bar'],
    [{ path: elements('/foo') }, replace('/xyz'), '/foo', '/xyz'],
    [{ path: elements('/foo') }, replace('/xyz'), '/foo/', '/xyz/'],
    [{ path: elements('/foo') }, replace(''), '/foo/bar', '/bar'],
    [{ path: elements('/foo') }, replace(''), '/foo/', '/'],
    [{ path: elements('/foo') }, replace(''), '/foo', '/'],
    [{ path: elements('/foo') }, replace('/'), '/foo/', '/'],
    [{ path: elements('/foo') }, replace('/'), '/foo', '/'],
    [{ path: elements('/foo') }, replace('/'), '/foo/bar', '/bar'],
    [{ path: elements('/') }, replace('/xyz'), '/foo', '/xyz/foo'],
    [undefined, replace('/xyz'), '/foo', '/xyz/foo'],
    // VirtualService.
    [{ path: prefix('/foo') }, replace('/xyz'), '/foobar', '/xyzbar'],
    [{ path: prefix('/foo') }, replace('/'), '/foo/bar', '/bar'],
    [{ path: prefix('/foo/') }, replace('/'), '/foo/bar', '/bar'],
    [{ path: prefix('/') }, replace('/xyz'), '/foo', '/xyz/foo'],
    [{ path: exact('/foo') }, replace('/xyz'), '/foo', '/xyz'],
    [{ path: regex('/f.*') }, replace('/xyz'), '/foo', '/xyz'],
    [{ path: prefix('/FOO'), ignorePathCase: true }, replace('/xyz'), '/foo/a', '/xyz/a'],
    // Whole and by pattern.
    [{ path: elements('/foo') }, { kind: 'full', value: '/one' }, '/foo/bar', '/one'],
    [undefined, { kind: 'full', value: 'one' }, '/foo', '/one'],
    [
      undefined,
      { kind: 'regex', pattern: '^/service/([^/]+)(/.*)$', substitution: '\\2/instance/\\1' },
      '/service/foo/v1/api',
      '/v1/api/instance/foo',
    ],
    [
      undefined,
      { kind: 'regex', pattern: 'one', substitution: 'two' },
      '/xxx/one/yyy/one/zzz',
      '/xxx/two/yyy/two/zzz',
    ],
    [undefined, { kind: 'regex', pattern: '(?i)/xxx/', substitution: '/$1/' }, '/aaa/XxX/bbb', '/aaa/$1/bbb'],
    [undefined, { kind: 'regex', pattern: '^/(.*)$', substitution: '\\1' }, '/a', '/a'],
  ];
  for (const [match, rewrite, path, wanted] of rows) {
    const problems: string[] = [];
    assert.equal(
      compilePathRewrite(rewrite, problems)?.(path, match),
      wanted,
      `${path} ${JSON.stringify(match)} ${JSON.stringify(rewrite)}`,
    );
    assert.deepEqual(problems, []);
  }
});

test('a rewrite that cannot be compiled is told', () => {
  for (const [pattern, substitution] of [
    ['(', ''],
    ['a', '\\1'],
    ['a', 'b\\'],
    ['a'.repeat(5000), ''],
  ] as const) {
    const problems: string[] = [];
    assert.equal(compilePathRewrite({ kind: 'regex', pattern, substitution }, problems), undefined);
    assert.equal(problems.length, 1);
  }
});

test('headers: removed, set, added; never those of framing', () => {
  const log: string[] = [];
  changeHeaders(
    {
      set: (name, value) => log.push(`set ${name} ${value}`),
      add: (name, value) => log.push(`add ${name} ${value}`),
      delete: (name) => log.push(`delete ${name}`),
    },
    [
      {
        add: [{ name: 'X-A', value: '1' }],
        set: [
          { name: 'x-b', value: '2' },
          { name: 'Host', value: 'h' },
          { name: 'content-length', value: '0' },
        ],
        remove: ['X-C', ':path', 'transfer-encoding'],
      },
      { set: [{ name: 'x-b', value: '3' }] },
    ],
  );
  assert.deepEqual(log, ['delete x-c', 'set x-b 2', 'add x-a 1', 'set x-b 3']);
  assert.equal(authorityChange([{ set: [{ name: 'Host', value: 'h' }] }]), 'h');
  assert.equal(authorityChange([{ add: [{ name: 'Host', value: 'h' }] }]), undefined);
});

test('where a redirect leads', () => {
  const rows: readonly [Partial<Redirect>, string, RequestParts, number, string][] = [
    [{}, 'GET /a?b=c', { authority: 'h' }, 80, 'http://h/a?b=c'],
    [{}, 'GET /a', { authority: 'h' }, 8080, 'http://h:8080/a'],
    [{}, 'GET /a', { authority: 'h:9' }, 8080, 'http://h:8080/a'],
    [{ scheme: 'https' }, 'GET /a', { authority: 'h:8080' }, 8080, 'https://h/a'],
    [{ scheme: 'http' }, 'GET /a', { authority: 'h', scheme: 'https' }, 443, 'http://h/a'],
    [{ scheme: 'https', port: 8443 }, 'GET /a', { authority: 'h' }, 80, 'https://h:8443/a'],
    [{ scheme: 'https', port: 80 }, 'GET /a', { authority: 'h' }, 80, 'https://h:80/a'],
    [{ scheme: 'https', port: 443 }, 'GET /a', { authority: 'h' }, 80, 'https://h/a'],
    [{ port: 80 }, 'GET /a', { authority: 'h' }, 8080, 'http://h/a'],
    [{ port: 8081 }, 'GET /a', { authority: 'h' }, 80, 'http://h:8081/a'],
    [{ hostname: 'example.org' }, 'GET /a', { authority: 'h' }, 80, 'http://example.org/a'],
    [{ hostname: 'example.org' }, 'GET /a', { authority: 'h' }, 8080, 'http://example.org:8080/a'],
    [{}, 'GET /a', { authority: '[fd00::1]:80' }, 80, 'http://[fd00::1]/a'],
    [{}, 'GET /a', { authority: '[fd00::1]' }, 81, 'http://[fd00::1]:81/a'],
    [{ path: { kind: 'full', value: '/n' } }, 'GET /foo/a?b', { authority: 'h' }, 80, 'http://h/n?b'],
    [{ path: { kind: 'full', value: '/n?c' } }, 'GET /foo/a?b', { authority: 'h' }, 80, 'http://h/n?c'],
    [{}, 'OPTIONS *', { authority: 'h' }, 80, 'http://h'],
    [{ path: { kind: 'prefix', value: '/n' } }, 'GET /foo/a', { authority: 'h' }, 80, 'http://h/n/a'],
  ];
  for (const [redirect, line, parts, port, wanted] of rows)
    assert.equal(
      redirectLocation(
        compileRedirect({ status: 302, ...redirect }, []),
        aRequest(line, parts),
        { path: elements('/foo') },
        port,
      ),
      wanted,
      JSON.stringify(redirect),
    );
});

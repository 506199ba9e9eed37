// Clients of the mesh that do not mean well, at a waypoint: each gets what is written here, the log says why, and a
// client in another namespace that asks all the while notices nothing.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { smugglingCorpus } from '../../src/http/h1/smuggling-corpus.ts';
import { eventually } from '../lab/test-lab.ts';
import {
  accessLogs,
  gauge,
  hostile,
  raw,
  StopFile,
  unnoticed,
  waypointEnv,
  waypointPids,
  type FloodResult,
} from './abuse-lab.ts';
import type { Flood } from './hostile-client.ts';
import { WaypointLab } from './waypoint-lab.ts';

const statusesOf = (answer: string): string[] =>
  Array.from(answer.matchAll(/^HTTP\/1\.1 (\d{3}) /gm), ([, status = '']) => status);

describe('hostile clients of a waypoint', () => {
  const mesh = new WaypointLab();
  before(() =>
    mesh.start(
      accessLogs +
        waypointEnv({ HTTP_HEADERS_TIMEOUT: '2s', HTTP_BODY_TIMEOUT: '2s', MAX_CONNECTIONS: '4000' }),
    ),
  );
  after(() => mesh[Symbol.asyncDispose]());

  test('what two readers could understand in two ways is refused, and nothing behind it is served', async () => {
    // Those that are fine but for one reader, and those whose head never ends, are of other tests.
    const bad = smugglingCorpus.filter(({ expect }) => /^4\d\d /.test(expect[0] ?? ''));
    const broken = smugglingCorpus.filter(({ expect }) => expect.at(-1) === 'failed protocol');
    assert.ok(bad.length > 50 && broken.length > 5);
    await unnoticed(mesh, async () => {
      for (const { name, answer, ended } of await raw(mesh, bad)) {
        const statuses = statusesOf(answer);
        assert.equal(statuses.length, 1, `${name}: ${answer}`);
        assert.match(statuses[0] ?? '', /^(?:4\d\d|505)$/, name);
        assert.equal(ended, true, name);
      }
      for (const { name, answer } of await raw(mesh, broken))
        assert.ok(!statusesOf(answer).includes('200'), `${name}: ${answer}`);
    });
    await mesh.logLine(['request refused', 'both Transfer-Encoding and Content-Length', 'status=400']);
  });

  test('what is not HTTP, or a head with bytes that none may have, is refused', async () => {
    const head = (line: string): string => `GET /get HTTP/1.1\r\nHost: app\r\n${line}\r\n\r\n`;
    const cases = {
      NUL: head('X: a\0b'),
      'a bare CR': head('X: a\rb'),
      'a bare LF in a value': 'GET /get HTTP/1.1\r\nHost: app\r\nX: a\nContent-Length: 5\r\n\r\n',
      'a folded header': head('X: a\r\n b'),
      'a blank before the colon': head('X : a'),
      'two hosts': head('Host: other'),
      'no HTTP at all': 'hello there\r\n\r\n',
      'a TLS greeting': '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n',
    };
    await unnoticed(mesh, async () => {
      const results = await raw(
        mesh,
        Object.entries(cases).map(([name, bytes]) => ({ name, bytes })),
      );
      for (const { name, answer, ended } of results) {
        assert.deepEqual(statusesOf(answer), ['400'], `${name}: ${answer}`);
        assert.equal(ended, true, name);
      }
    });
  });

  test('heads that are too large are refused, those that are slow are answered 408', async () => {
    const cases = {
      'a large header': [`GET /get HTTP/1.1\r\nHost: app\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`, '431'],
      'many headers': [`GET /get HTTP/1.1\r\nHost: app\r\n${'X: a\r\n'.repeat(150)}\r\n`, '431'],
      'a long line': [`GET /${'a'.repeat(70_000)} HTTP/1.1\r\nHost: app\r\n\r\n`, '414'],
      'a head that stops': ['GET /get HTTP/1.1\r\nHost: app\r\nX: ', '408'],
      'a method that stops': ['G', '408'],
    };
    await unnoticed(mesh, async () => {
      const results = await raw(
        mesh,
        Object.entries(cases).map(([name, [bytes = '']]) => ({ name, bytes })),
        { waitMs: 15_000 },
      );
      for (const { name, answer, ended } of results) {
        assert.deepEqual(statusesOf(answer), [cases[name as keyof typeof cases][1]], name);
        assert.equal(ended, true, name);
      }
    });
    await mesh.logLine(['request refused', 'status=431']);
    await mesh.logLine(['request refused', 'status=408', 'the head did not come in time']);
  });

  test('a body that stops is answered 408, and the connection is not served on', async () => {
    const stopped = 'POST /post HTTP/1.1\r\nHost: app\r\nContent-Length: 1000\r\n\r\nhalf';
    await unnoticed(mesh, async () => {
      const [result] = await raw(mesh, [{ name: 'a body that stops', bytes: stopped }], { waitMs: 20_000 });
      assert.deepEqual(statusesOf(result?.answer ?? ''), ['408']);
      assert.equal(result?.ended, true);
    });
    await mesh.logLine(['POST /post', '408 DT', 'request_overall_timeout', 'stopped']);
  });

  const paths: readonly (readonly [string, readonly number[]])[] = [
    ['/anything/admin', [403]],
    ['/anything/./admin', [403]],
    ['/anything/x/../admin', [403]],
    ['/x/../anything/admin/y', [403]],
    ['/anything/%61dmin', [403]],
    ['/%61nything/%61%64min', [403]],
    ['/anything\\admin', [403]],
    ['\\anything\\admin', [403]],
    ['/anything/x/..\\admin', [403]],
    ['/anything/x/%2e%2e/admin', [403]],
    ['/anything/x/.%2E/admin', [403]],
    ['/anything/admin?x=/anything/open', [403]],
    ['/anything/open/..;/admin', [400]],
    ['/anything/open/..;a=b/admin', [400]],
    ['/anything/open/..%2fadmin', [400]],
    ['/anything/open/%2e%2e%2fadmin', [400]],
    ['/anything/open/..%5cadmin', [400]],
    ['/anything/%00admin', [400]],
    ['/anything/adm%zzin', [400]],
    ['/anything/admin#x', [400]],
    ['/anything/open', [200]],
    // Other resources than the one that is denied; the ALLOW policy does not know them.
    ['//anything/admin', [403]],
    ['/anything//admin', [403]],
    ['/anything%2fadmin', [403]],
    ['/anything/%2561dmin', [403]],
    ['/anything;x/admin', [403]],
    ['/ANYTHING/admin', [403]],
    ['http://app-v1/anything/admin', [403]],
    ['http://app-v1/anything/open', [200]],
  ];

  test('no spelling of a path gets past the policies on it', async () => {
    const policy = (name: string, action: string, path: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  targetRefs: [{ kind: Service, group: "", name: app-v1 }]
  action: ${action}
  rules: [{ to: [{ operation: { paths: ["${path}", "${path}/*"] } }] }]
---
`;
    const policies = policy('deny', 'DENY', '/anything/admin') + policy('allow', 'ALLOW', '/anything/open');
    await mesh.with(policies, async () => {
      await mesh.untilStatus('http://app-v1/anything/admin', 403);
      await mesh.untilStatus('http://app-v1/get', 403);
      await mesh.untilStatus('http://app-v1/anything/open', 200);
      await unnoticed(mesh, async () => {
        const results = await raw(
          mesh,
          paths.map(([path]) => ({
            name: path,
            bytes: `GET ${path} HTTP/1.1\r\nHost: app-v1\r\nConnection: close\r\n\r\n`,
          })),
          { host: 'app-v1' },
        );
        for (const [i, { name, answer }] of results.entries())
          assert.deepEqual(statusesOf(answer).map(Number), paths[i]?.[1], `${name}: ${answer}`);
      });
      await mesh.logLine([
        '/anything/admin',
        '403',
        'rbac_access_denied_matched_policy[ns[shop]-policy[deny]',
      ]);
      await mesh.logLine(['request refused', 'a dot segment in disguise', 'status=400']);
    });
  });

  const floods: readonly Flood[] = [
    'rapid-reset',
    'continuation',
    'settings',
    'ping',
    'empty-data',
    'empty-headers',
  ];
  test('floods of HTTP/2 inside a tunnel cost the client its connection, and nobody else anything', async () => {
    await unnoticed(mesh, async () => {
      const results = await Promise.all(
        floods.map(async (flood) => ({
          flood,
          ...(await hostile<FloodResult>(mesh, { kind: 'flood', flood, waitMs: 60_000 })),
        })),
      );
      for (const { flood, ended, frames } of results) assert.equal(ended, true, `${flood}: ${frames} frames`);
    });
    await mesh.logLine([
      'request refused',
      'status=0',
      'src.identity=spiffe://cluster.local/ns/shop/sa/client',
    ]);
  });

  test('a storm of connections, and many that are idle, leave the waypoint as it was', async () => {
    const memory = async (): Promise<number> => {
      const pids = await waypointPids(mesh);
      assert.equal(pids.length, 1);
      return Number(readFileSync(`/proc/${pids[0]}/statm`, 'utf8').split(' ')[1]) * 4096;
    };
    await unnoticed(mesh, async () => {
      const hello = 'GET /bytes/100000 HTTP/1.1\r\nHost: app\r\n\r\n';
      const { opened } = await hostile<{ opened: number; failed: number }>(mesh, {
        kind: 'storm',
        count: 1500,
        atOnce: 50,
        hello,
      });
      assert.ok(opened > 1000, `${opened} opened`);
      const before = await memory();
      using file = new StopFile();
      const count = 1000;
      const holding = hostile<{ opened: number; ended: number }>(mesh, {
        kind: 'hold',
        count,
        hello: 'GET /get HTTP/1.1\r\nHost: app\r\n\r\n',
        until: file.path,
      });
      holding.catch(() => {});
      await eventually(
        'all are held',
        async () => (await gauge(mesh, 'aura_waypoint_http_connections')) >= count,
        60_000,
      );
      const each = ((await memory()) - before) / count;
      assert.ok(each < 100_000, `${Math.round(each)} bytes for an idle connection`);
      file.stop();
      assert.deepEqual(await holding, { opened: count, ended: 0 });
      await eventually(
        'nothing is left open',
        async () =>
          (await gauge(mesh, 'aura_waypoint_http_connections')) < 20 &&
          (await gauge(mesh, 'aura_waypoint_requests')) < 5,
        60_000,
      );
    });
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteParent, TcpRoute } from '#/model/index.ts';
import { seededRandom } from '../../../test/mesh-records.ts';
import { TcpRouteTables } from './tcp-route-table.ts';
import { service } from './test-requests.ts';

const gateway = 'ns/waypoint';

const route = (name: string, sniHosts: readonly string[] = [], more: Partial<TcpRoute> = {}): TcpRoute => ({
  kind: 'tcp-route',
  name,
  parents: [{ kind: 'service', service }],
  sniHosts,
  order: { createdAt: 1, namespace: 'ns', name },
  destinations: [{ weight: 1, destination: { service: `ns/${name}`, port: 80 } }],
  ...more,
});

function found(routes: readonly TcpRoute[], sni?: string, port = 80, to: string | undefined = service) {
  const answers = [routes, routes.toReversed()].map((list) => {
    const tables = new TcpRouteTables();
    for (const one of list) tables.put(one);
    const match = tables.match({ service: to, gateway, port }, sni, () => 0.5);
    return match === undefined
      ? 'none'
      : match.kind === 'refuse'
        ? `refuse ${match.reason}`
        : match.route.name;
  });
  assert.equal(answers[0], answers[1], 'the order of input does not matter');
  return answers[0];
}

test('which route takes a connection', () => {
  const tcp = route('tcp');
  const exact = route('exact', ['a.b.com']);
  const wide = route('wide', ['*.com']);
  const narrow = route('narrow', ['*.b.com']);
  const any = route('any', ['*']);
  const at = (parent: RouteParent): Partial<TcpRoute> => ({ parents: [parent] });
  const onPort = route('port', [], at({ kind: 'service', service, port: 81 }));
  const general = route('general', [], at({ kind: 'waypoint', gateway }));
  const none = 'refuse no TLS route of service ns/svc.ns.svc.cluster.local port 80 takes';
  const rows: readonly [readonly TcpRoute[], string | undefined, string][] = [
    [[], undefined, 'none'],
    [[tcp], undefined, 'tcp'],
    [[tcp], 'a.b.com', 'tcp'],
    [[tcp, exact, wide, narrow, any], 'a.b.com', 'exact'],
    [[tcp, exact, wide, narrow, any], 'A.B.com', 'exact'],
    [[tcp, wide, narrow, any], 'a.b.com', 'narrow'],
    [[tcp, wide, narrow, any], 'b.com', 'wide'],
    [[tcp, exact, wide], 'x.org', 'tcp'],
    [[tcp, any], undefined, 'tcp'],
    [[exact], 'x.org', `${none} SNI x.org`],
    [[exact], undefined, `${none} a connection without SNI`],
    [[onPort], undefined, 'none'],
    [[general], undefined, 'general'],
    [[general, tcp], undefined, 'tcp'],
    [[route('young', [], { order: { createdAt: 2, namespace: 'a', name: 'a' } }), tcp], undefined, 'tcp'],
    [[route('b'), route('a')], undefined, 'a'],
    [
      [route('weightless', [], { destinations: [] })],
      undefined,
      'refuse weightless has no destination with a weight',
    ],
    [
      [route('bad', [], { destinations: [{ weight: 1, broken: 'no service x' }] })],
      undefined,
      'refuse bad: no service x',
    ],
  ];
  for (const [routes, sni, wanted] of rows)
    assert.equal(found(routes, sni), wanted, `${routes.map(({ name }) => name).join()} ${sni}`);
  assert.equal(found([onPort], undefined, 81), 'port');
  assert.equal(found([general], undefined, 80, undefined), 'general');
});

test('weights', () => {
  const tables = new TcpRouteTables();
  tables.put(
    route('split', [], {
      destinations: [
        { weight: 3, destination: { service: 'ns/a', port: 80 } },
        { weight: 1, destination: { service: 'ns/b', port: 80 } },
      ],
    }),
  );
  const random = seededRandom(5);
  let a = 0;
  for (let i = 0; i < 4000; i++) {
    const match = tables.match({ service, gateway, port: 80 }, undefined, random);
    if (match?.kind === 'forward' && match.reference.destination?.service === 'ns/a') a++;
  }
  assert.ok(Math.abs(a / 4000 - 0.75) < 0.03);
  tables.remove('split');
  assert.equal(tables.match({ service, gateway, port: 80 }, undefined, random), undefined);
  assert.equal(tables.size, 0);
});

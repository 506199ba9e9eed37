// What the log, as JSON, and the numbers say of known traffic.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { aPolicy } from '../mesh-records.ts';
import { Talk } from './talk.ts';
import { World, type Pod } from './world.ts';

suite('log and numbers', () => {
  let world: World;
  let client: Pod;
  let web: Pod;
  let outsider: Pod;

  before(async () => {
    world = await World.make({ logFormat: 'json', logLevel: 'debug' });
    const locality = { region: 'r1', zone: 'z1', subzone: '' };
    client = await world.pod({ name: 'client', node: 'one', fields: { locality } });
    web = await world.pod({
      name: 'web',
      node: 'two',
      fields: { workloadName: 'web-dep', workloadType: 'deployment' },
    });
    outsider = await world.pod({ name: 'outsider', node: 'two', plain: true });
    world.echo(web);
    world.service('web', '10.200.0.1', [web]);
  });
  after(() => world[Symbol.asyncDispose]());

  type Line = Readonly<Record<string, unknown>>;
  const parsed = (lines: readonly string[]): Line[] =>
    lines
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line)
      .filter(({ scope }) => scope === 'access');

  test('JSON lines: opened and complete, the same fields as in text', async () => {
    const [out, inbound] = [world.node('one').watch(), world.node('two').watch()];
    await world.call(client, '10.200.0.1', 80);
    await world.quiet();
    const [opened, complete, ...more] = parsed(out.lines);
    assert.deepEqual(more, []);
    const port = String(complete?.['src.addr']).split(':')[1] ?? '';
    const shared = {
      scope: 'access',
      'src.addr': `${client.ip}:${port}`,
      'src.workload': 'client',
      'src.namespace': 'default',
      'src.identity': 'spiffe://cluster.local/ns/default/sa/client',
      'src.cluster': 'Kubernetes',
      'dst.addr': `${web.ip}:15008`,
      'dst.hbone_addr': `${web.ip}:8080`,
      'dst.service': 'web.default.svc.cluster.local',
      'dst.workload': 'web',
      'dst.namespace': 'default',
      'dst.identity': 'spiffe://cluster.local/ns/default/sa/web',
      'dst.cluster': 'Kubernetes',
      direction: 'outbound',
    };
    const { time: _opened, ...openedFields } = opened as Line;
    assert.deepEqual(openedFields, { level: 'debug', message: 'connection opened', ...shared });
    const { time, duration, ...fields } = complete as Line;
    const received = `web sees ${client.ip}\nhello`.length;
    assert.deepEqual(fields, {
      level: 'info',
      message: 'connection complete',
      ...shared,
      bytes_sent: 5,
      bytes_recv: received,
    });
    assert.match(time as string, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.match(duration as string, /^\d+ms$/);
    const served = parsed(inbound.lines).find(({ message }) => message === 'connection complete');
    assert.deepEqual(
      [served?.direction, served?.bytes_sent, served?.bytes_recv, served?.['dst.service']],
      ['inbound', received, 5, 'web.default.svc.cluster.local'],
    );
  });

  test('a refusal in JSON', async () => {
    const watch = world.node('two').watch();
    const talk = new Talk(world.connect(outsider, web.ip, 15008));
    talk.socket.end('"\\\n\u0000');
    await talk.end();
    await world.settled();
    const { time: _time, ...fields } = parsed(watch.lines)[0] as Line;
    const { 'src.addr': from, error, ...rest } = fields;
    assert.match(from as string, new RegExp(`^${outsider.ip}:`));
    assert.match(error as string, /^tls handshake error: /);
    assert.deepEqual(rest, {
      level: 'warn',
      scope: 'access',
      message: 'connection failed',
      'dst.addr': `${web.ip}:15008`,
      direction: 'inbound',
    });
  });

  test('the numbers of known traffic, for both reporters', async () => {
    await world.quiet();
    const samples = async (node: string, ...labels: string[]): Promise<Record<string, number>> => {
      const of: Record<string, number> = {};
      for (const name of [
        'connections_opened_total',
        'connections_closed_total',
        'connections_failed_total',
        'received_bytes_total',
        'sent_bytes_total',
      ])
        of[name] = await world.node(node).metric(`istio_tcp_${name}`, ...labels);
      return of;
    };
    const mesh = ['source_workload="client"', 'destination_workload="web-dep"'];
    const before = { one: await samples('one', ...mesh), two: await samples('two', ...mesh) };
    for (const text of ['a', 'bb', 'ccc']) await world.call(client, '10.200.0.1', 80, text);
    await assert.rejects(world.call(client, web.ip, 1));
    world.policies(aPolicy('p', { namespace: 'default', scope: 'Namespace', rules: [{ clauses: [] }] }));
    await world.settled();
    await assert.rejects(world.call(client, '10.200.0.1', 80));
    await world.quiet();
    world.dropPolicies('default/p');
    const greeting = `web sees ${client.ip}\n`.length;
    const expected = {
      connections_opened_total: 5,
      connections_closed_total: 5,
      connections_failed_total: 2,
      received_bytes_total: 6,
      sent_bytes_total: 6 + 3 * greeting,
    };
    for (const node of ['one', 'two'] as const)
      assert.deepEqual(
        Object.fromEntries(
          Object.entries(await samples(node, ...mesh)).map(([name, value]) => [
            name,
            value - (before[node][name] ?? 0),
          ]),
        ),
        expected,
        node,
      );
    const failed = 'istio_tcp_connections_failed_total';
    const flag = (node: string, name: string) =>
      world.node(node).metric(failed, ...mesh, `response_flags="${name}"`);
    assert.deepEqual([await flag('two', 'DENY'), await flag('two', 'CONNECT')], [1, 1]);
    assert.deepEqual([await flag('one', 'DENY'), await flag('one', 'CONNECT')], [0, 2]);

    const closed = (await world.node('one').metrics())
      .split('\n')
      .filter(
        (line) =>
          line.startsWith('istio_tcp_connections_closed_total{') && line.includes('response_flags="-"'),
      )
      .filter((line) => line.includes('destination_service_name="web"'));
    assert.deepEqual(
      closed.map((line) => line.replace(/ \d+$/, '')),
      [
        'istio_tcp_connections_closed_total{reporter="source",source_workload="client",source_canonical_service="client",' +
          'source_canonical_revision="v1",source_workload_namespace="default",' +
          'source_principal="spiffe://cluster.local/ns/default/sa/client",source_app="client",source_version="v1",' +
          'source_cluster="Kubernetes",destination_service="web.default.svc.cluster.local",' +
          'destination_service_namespace="default",destination_service_name="web",destination_workload="web-dep",' +
          'destination_canonical_service="web",destination_canonical_revision="v1",' +
          'destination_workload_namespace="default",destination_principal="spiffe://cluster.local/ns/default/sa/web",' +
          'destination_app="web",destination_version="v1",destination_cluster="Kubernetes",request_protocol="tcp",' +
          'response_flags="-",connection_security_policy="mutual_tls",source_region="r1",source_zone="z1",' +
          'destination_region="unknown",destination_zone="unknown"}',
      ],
    );
  });

  test('bytes are counted while the connection is open; sockets too', async () => {
    const node = world.node('one');
    const mesh = ['source_workload="client"', 'destination_workload="web-dep"'];
    const before = await node.metric('istio_tcp_received_bytes_total', ...mesh);
    const opened = await node.metric('istio_tcp_connections_opened_total', ...mesh);
    const talk = await world.talk(client, web.ip);
    await talk.echo('x'.repeat(1000));
    assert.equal(await node.metric('istio_tcp_received_bytes_total', ...mesh), before + 1000);
    assert.equal(await node.metric('istio_tcp_connections_opened_total', ...mesh), opened + 1);
    assert.equal(await node.metric('istio_tcp_sockets_open', 'reporter="source"'), 1);
    const [connection] = await node.connections();
    assert.deepEqual(connection && { ...connection, src: '' }, {
      pod: client.workload.uid,
      direction: 'outbound',
      src: '',
      originalDst: `${web.ip}:8080`,
      actualDst: `${web.ip}:15008`,
      protocol: 'HBONE',
    });
    talk.socket.end();
    await talk.end();
    await world.quiet();
  });
});

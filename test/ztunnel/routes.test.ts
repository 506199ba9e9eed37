// Where connections go: services over several pods, addresses outside the mesh, both address families; and what the
// log, as text and as JSON, and the numbers say of it.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { parseCidr, type Cidr, type Ip } from '#/kit/index.ts';
import { emptyMatch, type Policy } from '#/model/index.ts';
import { runCommand } from '#/sys/index.ts';
import { aPolicy } from '../mesh-records.ts';
import { Talk } from './talk.ts';
import { World, type Pod } from './world.ts';

suite('services and addresses', () => {
  let world: World;
  let client: Pod;
  let first: Pod;
  let second: Pod;
  let outsider: Pod;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    first = await world.pod({ name: 'first', node: 'one' });
    second = await world.pod({ name: 'second', node: 'two' });
    outsider = await world.pod({ name: 'outsider', node: 'two', plain: true });
    for (const pod of [first, second, outsider]) world.echo(pod);
    world.service('web', '10.200.0.1', [first, second]);
  });
  after(() => world[Symbol.asyncDispose]());

  const answerers = async (calls: number): Promise<Record<string, number>> => {
    const answers = await Promise.all(
      Array.from({ length: calls }, () => world.call(client, '10.200.0.1', 80)),
    );
    const counts: Record<string, number> = {};
    for (const answer of answers) {
      const [name = ''] = answer.split(' ');
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  };

  test('a service is spread over its pods', async () => {
    const counts = await answerers(100);
    assert.deepEqual(Object.keys(counts).sort(), ['first', 'second']);
    assert.ok((counts.first ?? 0) > 20 && (counts.second ?? 0) > 20, JSON.stringify(counts));
  });

  test('by weight; a pod that is not healthy gets nothing', async () => {
    world.update(second, { capacity: 9 });
    const counts = await answerers(100);
    assert.ok((counts.second ?? 0) > 75, JSON.stringify(counts));
    world.update(second, { status: 'Unhealthy', capacity: 1 });
    assert.deepEqual(await answerers(20), { first: 20 });
    world.update(second, { status: 'Healthy' });
  });

  test('a pod that leaves the service while others call: no call is lost', async () => {
    const calls = answerers(60);
    world.update(second, { services: {} });
    const counts = await calls;
    assert.equal((counts.first ?? 0) + (counts.second ?? 0), 60);
    assert.deepEqual(await answerers(20), { first: 20 });
  });

  test('an address that nobody knows: as it is, in plain TCP', async () => {
    const { code, stderr } = await runCommand(['ip', 'addr', 'add', '10.99.7.7/16', 'dev', 'eth0'], {
      netns: outsider.netns,
    });
    assert.equal(code, 0, stderr);
    await world.quiet();
    const watch = world.node('one').watch();
    assert.equal(await world.call(client, '10.99.7.7', 8080), `outsider sees ${client.ip}\nhello`);
    const line = await watch.one('connection complete');
    assert.match(line, / dst.addr=10.99.7.7:8080 direction="outbound" bytes_sent=5 bytes_recv=29 /);
    assert.doesNotMatch(line, /dst.(workload|hbone_addr|service|identity)/);
  });

  test('a pod calls itself, by its address and by its service', async () => {
    assert.equal(await world.call(first, first.ip, 8080), `first sees ${first.ip}\nhello`);
    await world.quiet();
    const watch = world.node('one').watch();
    assert.equal(await world.call(first, '10.200.0.1', 80), `first sees ${first.ip}\nhello`);
    await watch.one('direction="inbound"', 'src.workload="first"', 'dst.workload="first"');
  });

  test('addresses of the node without a listener are refused, not swallowed', async () => {
    await assert.rejects(world.call(client, '10.99.0.1', 9), /ECONNRESET|ECONNREFUSED/);
  });
});

suite('both address families', () => {
  let world: World;
  let client: Pod;
  let web: Pod;
  let outsider: Pod;

  before(async () => {
    world = await World.make({}, { ipv6: true });
    client = await world.pod({ name: 'client', node: 'one' });
    web = await world.pod({ name: 'web', node: 'two' });
    outsider = await world.pod({ name: 'outsider', node: 'two', plain: true });
    world.echo(web);
    world.echo(outsider);
    world.service('web', 'fd99:200::1', [web]);
    world.service('old', '10.200.0.1', [web]);
  });
  after(() => world[Symbol.asyncDispose]());

  test('through a tunnel', async () => {
    const [out, inbound] = [world.node('one').watch(), world.node('two').watch()];
    assert.equal(await world.call(client, web.ip6 as Ip, 8080), `web sees ${client.ip6}\nhello`);
    assert.match(
      await out.one('outbound'),
      new RegExp(
        ` src.addr=\\[${client.ip6}\\]:\\d+ .* dst.addr=\\[${web.ip6}\\]:15008 dst.hbone_addr=\\[${web.ip6}\\]:8080 `.trimStart(),
      ),
    );
    assert.match(
      await inbound.one('inbound'),
      new RegExp(`dst.addr=\\[${web.ip6}\\]:15008 dst.hbone_addr=\\[${web.ip6}\\]:8080 `),
    );
    assert.equal(await world.call(client, web.ip, 8080), `web sees ${client.ip}\nhello`);
  });

  test('services: the family of the client, as far as the pod has it', async () => {
    assert.equal(await world.call(client, 'fd99:200::1', 80), `web sees ${client.ip6}\nhello`);
    assert.equal(await world.call(client, '10.200.0.1', 80), `web sees ${client.ip}\nhello`);
    world.update(web, { addresses: [web.ip] });
    assert.equal(await world.call(client, 'fd99:200::1', 80), `web sees ${client.ip}\nhello`, 'over IPv4');
    world.update(web, { addresses: [web.ip, web.ip6 as Ip] });
  });

  test('from and to outside the mesh', async () => {
    assert.equal(await world.call(outsider, web.ip6 as Ip, 8080), `web sees ${outsider.ip6}\nhello`);
    assert.equal(await world.call(client, outsider.ip6 as Ip, 8080), `outsider sees ${client.ip6}\nhello`);
  });

  test('policy on addresses', async () => {
    const deny = (...sources: (Ip | undefined)[]): Policy =>
      aPolicy('by-ip', {
        namespace: 'default',
        scope: 'Namespace',
        rules: [
          {
            clauses: [
              {
                matches: [{ ...emptyMatch, sourceIps: sources.map((ip) => parseCidr(ip as string) as Cidr) }],
              },
            ],
          },
        ],
      });
    world.policies(deny(client.ip6, outsider.ip6));
    await world.settled();
    await assert.rejects(world.call(client, web.ip6 as Ip, 8080), /ECONNRESET/);
    await assert.rejects(world.call(outsider, web.ip6 as Ip, 8080), /ECONNRESET/);
    assert.match(await world.call(client, web.ip, 8080), /^web sees/);
    assert.match(await world.call(outsider, web.ip, 8080), /^web sees/);
    world.dropPolicies('default/by-ip');
  });

  test('link-local addresses, which name an interface of the pod: refused, each with a line', async () => {
    for (const [pod, ip] of [
      [web, 'fe80::9002'],
      [outsider, 'fe80::9003'],
    ] as const) {
      const argv = ['ip', 'addr', 'add', `${ip}/64`, 'dev', 'eth0', 'nodad'];
      const { code, stderr } = await runCommand(argv, { netns: pod.netns });
      assert.equal(code, 0, stderr);
    }
    const dial = async (from: Pod, port: number): Promise<string> => {
      const script = `require('node:net').connect({host: 'fe80::9002%eth0', port: ${port}})
        .on('connect', function () { this.end('x') })
        .on('error', (error) => console.log(error.code))
        .on('end', () => console.log('end'))
        .on('data', (data) => console.log('data ' + data))`;
      const argv = [process.execPath, '-e', script];
      const { stdout } = await runCommand(argv, { netns: from.netns, timeoutMs: 10_000 });
      return stdout.trim();
    };
    const there = world.node('two').watch();
    assert.match(await dial(outsider, 8080), /^(ECONNRESET|end)$/);
    assert.match(await dial(outsider, 15008), /^(ECONNRESET|end)$/);
    await world.settled();
    await there.one('dst.addr=[fe80::9002]:8080', 'src.addr=[fe80::9003]:', 'error="connection failed: ');
    await there.one('dst.addr=[fe80::9002]:15008', 'src.addr=[fe80::9003]:', 'tls handshake error');
    assert.equal(world.node('two').workers.crashes, 0);
  });

  test("the proxy's own ports", async () => {
    for (const ip of ['::1', client.ip6 as Ip, web.ip6 as Ip])
      for (const port of [15001, 15006, 15008]) {
        const talk = new Talk(world.connect(client, ip, port));
        talk.socket.write('GET / HTTP/1.1\r\n\r\n');
        await talk.end(2000);
        assert.equal(talk.received, '', `${ip} ${port}`);
      }
    await world.quiet();
  });
});

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

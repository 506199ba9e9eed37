// Where connections go: services over several pods, addresses outside the mesh, both address families.
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

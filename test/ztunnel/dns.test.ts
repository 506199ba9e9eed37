// DNS of captured pods in real network namespaces: what an application asks of port 53 anywhere ends at the proxy on
// its own loopback, by the real rules.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Ip } from '#/kit/index.ts';
import { runCommand } from '#/sys/index.ts';
import { parseZtunnelConfig, type ZtunnelConfig } from '../../src/ztunnel/config.ts';
import { answersOf, dig, NameServer, say, scatter, type Heard } from './dns-talk.ts';
import { kernel, World, type Pod, type WorldOptions } from './world.ts';

const dir = mkdtempSync(join(tmpdir(), 'aura-dns-'));
after(() => rmSync(dir, { recursive: true }));

/** A world whose name server is the address that `resolv.conf` is given later. */
async function make(file: string, fields: Partial<ZtunnelConfig> = {}, options: WorldOptions = {}) {
  const resolvConf = join(dir, file);
  const { dns } = parseZtunnelConfig({});
  const config = { logLevel: 'debug', ...fields, dns: { ...dns, ...fields.dns, resolvConf } } as const;
  const world = await World.make(config, { dnsCapture: true, ...options });
  return { world, use: (ip: string) => writeFileSync(resolvConf, `search x\nnameserver ${ip}\n`) };
}

const long = Array.from({ length: 100 }, (_, i) => ({
  type: 'A' as const,
  name: 'long.example.com',
  ttl: 60,
  data: `192.0.2.${i}`,
}));

/** The internet, as the test's name server knows it. */
function internet({ name, type, tcp }: Heard) {
  const address = (data: string) => ({ answers: [{ type: 'A' as const, name, ttl: 60, data }] });
  switch (name) {
    case 'example.com':
    case 'Example.COM':
      return type === 'TXT'
        ? { answers: [{ type: 'TXT' as const, name, ttl: 9, data: 'text' }] }
        : address('192.0.2.1');
    case 'long.example.com':
      return tcp ? { answers: long } : { flags: 0x380 };
    case 'db-0.db.default.svc.cluster.local':
      return address('192.0.2.7');
    default: {
      const soa = { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 };
      return { flags: 0x183, authorities: [{ type: 'SOA' as const, name: 'com', ttl: 60, data: soa }] };
    }
  }
}

suite('DNS of a captured pod', () => {
  let world: World;
  let server: NameServer;
  let outside: Pod;
  let client: Pod;
  let dbPods: Pod[];

  before(async () => {
    const made = await make('resolv.conf');
    world = made.world;
    outside = await world.pod({ name: 'nameserver', node: 'two', plain: true });
    made.use(outside.ip);
    server = new NameServer(outside, internet);
    client = await world.pod({ name: 'client', node: 'one' });
    dbPods = [
      await world.pod({ name: 'db-0', node: 'two' }),
      await world.pod({ name: 'db-1', node: 'two', plain: true }),
    ];
    world.service('web', '10.200.0.1', []);
    world.service('db', '', dbPods, { addresses: [] });
    world.service('hidden', '10.200.0.3', [], {
      namespace: 'elsewhere',
      hostname: 'hidden.example.com',
      visibility: 'NAMESPACE',
    });
    await world.settled();
  });
  after(async () => {
    server[Symbol.dispose]();
    await world[Symbol.asyncDispose]();
  });

  const heard = (name: string): Heard[] => server.heard.filter((one) => one.name === name);

  for (const tcp of [false, true])
    test(`a service's address by ${tcp ? 'TCP' : 'UDP'}`, async () => {
      const watch = world.node('one').watch();
      const reply = await dig(client, { name: 'web.default.svc.cluster.local', tcp });
      assert.deepEqual([reply.rcode, reply.flag_aa, answersOf(reply)], ['NOERROR', true, ['A 10.200.0.1']]);
      assert.match(
        await watch.one('\tdns\t'),
        /\tdebug\tdns\tsrc\.workload="client" src\.namespace="default" query="A" domain="web\.default\.svc\.cluster\.local\." result="success" endpoints=1$/,
      );
      assert.deepEqual(heard('web.default.svc.cluster.local'), [], 'no name server is asked');
    });

  test('an address that a name server of its own is asked for, too', async () => {
    const reply = await dig(client, { name: 'web', server: outside.ip });
    assert.deepEqual(answersOf(reply), ['A 10.200.0.1']);
  });

  test('a headless service: the addresses of its endpoints, as they come and go', async () => {
    const [first, second] = dbPods as [Pod, Pod];
    assert.deepEqual(answersOf(await dig(client, { name: 'db' })), [`A ${first.ip}`, `A ${second.ip}`]);
    world.update(second, { status: 'Unhealthy' });
    await world.settled();
    assert.deepEqual(answersOf(await dig(client, { name: 'db.default' })), [`A ${first.ip}`]);
  });

  test('a service that comes later is found, one that goes is not', async () => {
    assert.equal((await dig(client, { name: 'late.default.svc.cluster.local' })).rcode, 'NXDOMAIN');
    const late = world.service('late', '10.200.0.9', []);
    await world.settled();
    assert.deepEqual(answersOf(await dig(client, { name: 'late' })), ['A 10.200.0.9']);
    world.tell({ removedServices: [`default/${late.hostname}`] });
    await world.settled();
    assert.equal((await dig(client, { name: 'late.default.svc.cluster.local' })).rcode, 'NXDOMAIN');
  });

  test('another name: asked of the name server from the pod, and kept', async () => {
    const watch = world.node('one').watch();
    const reply = await dig(client, { name: 'example.com', payloadSize: 4096 });
    assert.deepEqual([reply.rcode, reply.flag_aa, answersOf(reply)], ['NOERROR', false, ['A 192.0.2.1']]);
    assert.deepEqual(heard('example.com'), [
      { name: 'example.com', type: 'A', from: client.ip, tcp: false, payloadSize: 1232 },
    ]);
    assert.match(await watch.one('domain="example.com."'), /result="forwarded" endpoints=1$/);
    const again = await dig(client, { name: 'Example.COM', tcp: true });
    assert.deepEqual([answersOf(again), again.questions?.[0]?.name], [['A 192.0.2.1'], 'Example.COM']);
    assert.equal(heard('example.com').length + heard('Example.COM').length, 1);
  });

  test('other types, pods of headless services and names that may not be seen are forwarded', async () => {
    const text = await dig(client, { name: 'example.com', type: 'TXT' });
    assert.deepEqual(answersOf(text), ['TXT text']);
    const pod = await dig(client, { name: 'db-0.db.default.svc.cluster.local' });
    assert.deepEqual(answersOf(pod), ['A 192.0.2.7']);
    assert.equal((await dig(client, { name: 'hidden.example.com' })).rcode, 'NXDOMAIN');
  });

  test('NXDOMAIN is passed on, with its authority', async () => {
    const reply = await dig(client, { name: 'nope.example.com' });
    assert.deepEqual([reply.rcode, reply.authorities?.map(({ type }) => type)], ['NXDOMAIN', ['SOA']]);
    await dig(client, { name: 'nope.example.com' });
    assert.equal(heard('nope.example.com').length, 1, 'kept as well');
  });

  test('an answer too long for a datagram is fetched by TCP', async () => {
    const udp = await dig(client, { name: 'long.example.com' });
    assert.deepEqual([udp.flag_tc, (udp.answers ?? []).length > 10], [true, true]);
    assert.deepEqual(
      heard('long.example.com').map(({ tcp }) => tcp),
      [false, true],
    );
    const tcp = await dig(client, { name: 'long.example.com', tcp: true });
    assert.deepEqual([tcp.flag_tc, tcp.answers?.length], [false, 100]);
    const large = await dig(client, { name: 'long.example.com', payloadSize: 4096 });
    assert.deepEqual([large.flag_tc, large.answers?.length], [false, 100]);
  });

  test('no IPv6 address: no error', async () => {
    const reply = await dig(client, { name: 'web', type: 'AAAA' });
    assert.deepEqual([reply.rcode, reply.answers], ['NOERROR', []]);
  });

  test('a name server that is not there: SERVFAIL at once', async () => {
    server[Symbol.dispose]();
    const watch = world.node('one').watch();
    const started = Date.now();
    assert.equal((await dig(client, { name: 'refused.example.com' })).rcode, 'SERVFAIL');
    assert.ok(Date.now() - started < 2000, 'known at once');
    assert.match(
      await watch.one('domain="refused'),
      /result="forwarding failed \(.*ECONNREFUSED.*\)" endpoints=0$/,
    );
    server = new NameServer(outside, internet);
    assert.deepEqual(answersOf(await dig(client, { name: 'web' })), ['A 10.200.0.1']);
    assert.equal(
      (await dig(client, { name: 'refused.example.com' })).rcode,
      'NXDOMAIN',
      'a failure is not kept',
    );
  });

  test('garbage gets a refusal, or none, and harms nobody', async () => {
    const { workers } = world.node('one');
    const header = Buffer.from('abcd29000001000000000000', 'hex');
    assert.equal((await say(client, header)).rcode, 'NOTIMP');
    const cut = Buffer.from('abcd0100000100000000000005776562', 'hex');
    const refused = await say(client, cut);
    assert.deepEqual([refused.rcode, refused.id], ['FORMERR', 0xabcd]);
    assert.equal((await say(client, cut, { tcp: true })).rcode, 'FORMERR');
    using _ = scatter(
      client,
      Array.from({ length: 50 }, (_, i) => crypto.getRandomValues(new Uint8Array(i * 7))),
    );
    assert.deepEqual(answersOf(await dig(client, { name: 'web', tcp: true })), ['A 10.200.0.1']);
    assert.equal(workers.crashes, 0);
  });

  test('only the pod itself is listened to', async () => {
    const { stdout } = await runCommand(['ss', '-Hlnut', 'sport', '=', ':15053'], { netns: client.netns });
    const sockets = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/));
    assert.deepEqual(sockets.map(([protocol, , , , local]) => `${protocol} ${local}`).sort(), [
      'tcp 127.0.0.1:15053',
      'tcp [::1]:15053',
      'udp 127.0.0.1:15053',
      'udp [::1]:15053',
    ]);
    await assert.rejects(dig(outside, { name: 'web', server: client.ip, port: 15_053 }), /ECONNREFUSED/);
  });

  test('questions are counted by type, protocol and client', async () => {
    const node = world.node('one');
    const count = (name: string, ...labels: string[]) => node.metric(name, ...labels);
    const labels = ['source_canonical_service="client"', 'source_canonical_revision="v1"'];
    const before = await count('istio_dns_requests_total', 'request_query_type="aaaa"', ...labels);
    const upstream = await count('istio_dns_upstream_requests_total');
    await dig(client, { name: 'web', type: 'AAAA', tcp: true });
    const after = await count('istio_dns_requests_total', 'request_query_type="aaaa"', ...labels);
    assert.equal(after - before, 1);
    assert.equal(await count('istio_dns_requests_total', 'type="aaaa"', 'protocol="tcp"'), 1);
    assert.equal(await count('istio_dns_upstream_requests_total'), upstream);
    assert.equal(await count('istio_dns_upstream_request_duration_seconds_count'), upstream);
    assert.equal(await count('istio_dns_upstream_failures_total'), 1);
  });

  test('a pod that the control plane has not told of yet: its questions wait', async () => {
    const node = world.node('one');
    node.store.apply({ removedWorkloads: [client.workload.uid] });
    await node.settled();
    const reply = dig(client, { name: 'web' });
    const still = Symbol();
    const pause = new Promise((resolve) => setTimeout(() => resolve(still), 100));
    assert.equal(await Promise.race([reply, pause]), still);
    node.store.apply({ addresses: [client.workload] });
    assert.deepEqual(answersOf(await reply), ['A 10.200.0.1']);
  });

  test('a pod that leaves the mesh has no listener left', async () => {
    const pod = await world.pod({ name: 'leaving', node: 'one' });
    assert.deepEqual(answersOf(await dig(pod, { name: 'web', port: 15_053, server: '127.0.0.1' })), [
      'A 10.200.0.1',
    ]);
    await world.node('one').workers.stop(pod.workload.uid);
    await assert.rejects(dig(pod, { name: 'web', port: 15_053, server: '127.0.0.1' }), /ECONNREFUSED/);
    await assert.rejects(
      dig(pod, { name: 'web', port: 15_053, server: '127.0.0.1', tcp: true }),
      /ECONNREFUSED/,
    );
  });
});

suite('DNS with IPv6', () => {
  const vips = [
    { network: '', ip: '10.200.0.1' as Ip },
    { network: '', ip: 'fd00:200::1' as Ip },
  ];

  test('questions over IPv6, answers of both families, several workers', async () => {
    const { world, use } = await make('six.conf', { workers: 2 }, { ipv6: true });
    await using _ = world;
    const outside = await world.pod({ name: 'nameserver', node: 'two', plain: true });
    use(outside.ip6 as string);
    using server = new NameServer(outside, internet);
    const client = await world.pod({ name: 'client', node: 'one' });
    world.service('web', '', [], { addresses: vips });
    await world.settled();
    for (const tcp of [false, true])
      for (const at of ['fd00:96::a', '10.96.0.10']) {
        const ask = (type: 'A' | 'AAAA') => dig(client, { name: 'web', type, tcp, server: at });
        assert.deepEqual(answersOf(await ask('A')), ['A 10.200.0.1'], at);
        assert.deepEqual(answersOf(await ask('AAAA')), ['AAAA fd00:200::1'], at);
      }
    const reply = await dig(client, { name: 'long.example.com', server: 'fd00:96::a', payloadSize: 4096 });
    assert.equal(reply.answers?.length, 100);
    assert.deepEqual(
      server.heard.map(({ from, tcp }) => [from, tcp]),
      [
        [client.ip6, false],
        [client.ip6, true],
      ],
    );
  });

  test('IPv6 is off: no AAAA record of the mesh, no IPv6 listener', async () => {
    const { dns } = parseZtunnelConfig({ IPV6_ENABLED: 'false' });
    const { world, use } = await make('off.conf', { ipv6: false, dns });
    await using _ = world;
    use('10.99.0.1');
    const client = await world.pod({ name: 'client', node: 'one' });
    world.service('web', '', [], { addresses: vips });
    await world.settled();
    const reply = await dig(client, { name: 'web', type: 'AAAA' });
    assert.deepEqual([reply.rcode, reply.answers, reply.flag_aa], ['NOERROR', [], true]);
    assert.deepEqual(answersOf(await dig(client, { name: 'web' })), ['A 10.200.0.1']);
    await assert.rejects(dig(client, { name: 'web', server: '::1', port: 15_053 }), /ECONNREFUSED/);
  });
});

test('a proxy that drains answers what was asked before, then closes', async () => {
  const { world, use } = await make('drain.conf');
  await using _ = world;
  use('10.99.0.1');
  const client = await world.pod({ name: 'client', node: 'one' });
  world.service('web', '10.200.0.1', []);
  const node = world.node('one');
  // The questions wait for the pod's record.
  node.store.apply({ removedWorkloads: [client.workload.uid] });
  await node.settled();
  const waiting = [false, true].map((tcp) => dig(client, { name: 'web', tcp }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const closed = node.workers.close(3000);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await assert.rejects(dig(client, { name: 'web', tcp: true }), /ECONNREFUSED/);
  node.store.apply({ addresses: [client.workload] });
  for (const reply of await Promise.all(waiting)) assert.deepEqual(answersOf(reply), ['A 10.200.0.1']);
  await closed;
  await assert.rejects(dig(client, { name: 'web', server: '127.0.0.1', port: 15_053 }), /ECONNREFUSED/);
});

test('a port that is taken: the pod is not started, and the error says where', async () => {
  const { world } = await make('taken.conf');
  await using _ = world;
  const pod = await world.pod({ name: 'busy', node: 'one', plain: true });
  const fd = kernel.udpSocket({ netns: pod.netns, host: '127.0.0.1', port: 15_053 });
  await assert.rejects(world.start(pod), /bind 127\.0\.0\.1:15053 .*EADDRINUSE/);
  kernel.close(fd);
  await world.start(pod);
});

test('without DNS capture nothing listens', async () => {
  const { dns } = parseZtunnelConfig({ ISTIO_META_DNS_CAPTURE: 'false' });
  await using world = await World.make({ dns });
  const client = await world.pod({ name: 'client', node: 'one' });
  for (const tcp of [false, true])
    await assert.rejects(
      dig(client, { name: 'web', server: '127.0.0.1', port: 15_053, tcp }),
      /ECONNREFUSED/,
    );
});

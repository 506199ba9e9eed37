// L4 policy on real traffic: who is refused, in what words, and what happens to connections that are open.
import assert from 'node:assert/strict';
import { after, afterEach, before, suite, test } from 'node:test';
import { parseCidr, type Cidr } from '#/kit/index.ts';
import { emptyMatch, type Policy, type PolicyMatch, type PolicyRule } from '#/model/index.ts';
import { aPolicy } from '../mesh-records.ts';
import type { MeshNode } from './mesh-node.ts';
import { blackHole } from './namespaces.ts';
import { World, type Pod } from './world.ts';

const rule = (match: Partial<PolicyMatch>): PolicyRule => ({
  clauses: [{ matches: [{ ...emptyMatch, ...match }] }],
});
const exact = (value: string) => ({ kind: 'exact', value }) as const;
const presence = { kind: 'presence' } as const;

function policy(
  name: string,
  action: 'Allow' | 'Deny',
  match?: Partial<PolicyMatch>,
  fields?: Partial<Policy>,
) {
  const rules = match === undefined ? [] : [rule(match)];
  return aPolicy(name, { namespace: 'default', scope: 'Namespace', action, rules, ...fields });
}

suite('L4 policy', () => {
  let world: World;
  let client: Pod;
  let stranger: Pod;
  let outsider: Pod;
  let web: Pod;
  let node: MeshNode;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    stranger = await world.pod({ name: 'stranger', node: 'one', namespace: 'elsewhere' });
    outsider = await world.pod({ name: 'outsider', node: 'one', plain: true });
    web = await world.pod({ name: 'web', node: 'two' });
    world.echo(web);
    world.echo(web, 8081);
    node = world.node('two');
  });
  after(() => world[Symbol.asyncDispose]());

  const added = new Set<string>();
  /** Returns when it is in force. */
  async function set(...policies: Policy[]): Promise<void> {
    for (const { namespace, name } of policies) added.add(`${namespace}/${name}`);
    world.policies(...policies);
    await world.settled();
  }
  async function list(...policies: string[]): Promise<void> {
    world.update(web, { authorizationPolicies: policies });
    await world.settled();
  }
  afterEach(async () => {
    await world.quiet();
    world.dropPolicies(...added);
    await list();
    added.clear();
  });

  /** Which of the three get an answer. */
  async function admitted(port = 8080): Promise<string[]> {
    const pods = [client, stranger, outsider];
    const answers = await Promise.allSettled(pods.map((pod) => world.call(pod, web.ip, port)));
    return pods.filter((_, i) => answers[i]?.status === 'fulfilled').map(({ spec }) => spec.name);
  }

  const ip = (text: string): Cidr => parseCidr(text) as Cidr;
  const rows: readonly (readonly [name: string, policies: () => Policy[], admitted: readonly string[]])[] = [
    ['no policy', () => [], ['client', 'stranger', 'outsider']],
    [
      'deny a principal',
      () => [policy('p', 'Deny', { principals: [exact('cluster.local/ns/default/sa/client')] })],
      ['stranger', 'outsider'],
    ],
    [
      'deny by suffix of the principal',
      () => [policy('p', 'Deny', { principals: [{ kind: 'suffix', value: '/sa/stranger' }] })],
      ['client', 'outsider'],
    ],
    [
      'deny a namespace',
      () => [policy('p', 'Deny', { namespaces: [exact('elsewhere')] })],
      ['client', 'outsider'],
    ],
    [
      'deny a service account',
      () => [
        policy('p', 'Deny', { serviceAccounts: [{ namespace: 'elsewhere', serviceAccount: 'stranger' }] }),
      ],
      ['client', 'outsider'],
    ],
    [
      'deny a source address',
      () => [policy('p', 'Deny', { sourceIps: [ip(client.ip), ip(outsider.ip)] })],
      ['stranger'],
    ],
    ['deny a destination address', () => [policy('p', 'Deny', { destinationIps: [ip(`${web.ip}/32`)] })], []],
    [
      'deny another destination address',
      () => [policy('p', 'Deny', { notDestinationIps: [ip('10.99.0.0/16')] })],
      ['client', 'stranger', 'outsider'],
    ],
    ['deny a port', () => [policy('p', 'Deny', { destinationPorts: [8080] })], []],
    [
      'deny another port',
      () => [policy('p', 'Deny', { destinationPorts: [15008, 15006, 8081] })],
      ['client', 'stranger', 'outsider'],
    ],
    [
      'STRICT: plaintext has no principal',
      () => [policy('strict', 'Deny', { notPrincipals: [presence] })],
      ['client', 'stranger'],
    ],
    ['allow one', () => [policy('p', 'Allow', { namespaces: [exact('elsewhere')] })], ['stranger']],
    ['allow nobody', () => [policy('p', 'Allow')], []],
    [
      'deny goes before allow',
      () => [policy('allow', 'Allow', {}), policy('deny', 'Deny', { namespaces: [exact('default')] })],
      [],
    ],
    [
      'two that allow',
      () => [
        policy('a', 'Allow', { namespaces: [exact('elsewhere')] }),
        policy('b', 'Allow', { sourceIps: [ip(outsider.ip)] }),
      ],
      ['stranger', 'outsider'],
    ],
    [
      'in the whole mesh',
      () => [policy('p', 'Deny', { namespaces: [exact('default')] }, { scope: 'Global', namespace: '' })],
      ['stranger', 'outsider'],
    ],
    [
      'in another namespace',
      () => [policy('p', 'Deny', { namespaces: [exact('default')] }, { namespace: 'elsewhere' })],
      ['client', 'stranger', 'outsider'],
    ],
    [
      'dry run',
      () => [policy('p', 'Deny', { notPrincipals: [presence] }, { dryRun: true })],
      ['client', 'stranger', 'outsider'],
    ],
  ];
  for (const [name, policies, expected] of rows)
    test(name, async () => {
      await set(...policies());
      assert.deepEqual(await admitted(), expected);
    });

  test('deny on one port leaves the others', async () => {
    await set(policy('p', 'Deny', { destinationPorts: [8080] }));
    assert.deepEqual([await admitted(8080), await admitted(8081)], [[], ['client', 'stranger', 'outsider']]);
  });

  test('who is refused reads why in the log of the destination, and 401 in its own; the numbers say DENY', async () => {
    const before = await node.metric('istio_tcp_connections_failed_total', 'response_flags="DENY"');
    await set(policy('no-client', 'Deny', { sourceIps: [ip(client.ip), ip(outsider.ip)] }));
    const [here, there] = [world.node('one').watch(), node.watch()];
    await assert.rejects(world.call(client, web.ip, 8080), /ECONNRESET/);
    const denied =
      'error="connection closed due to policy rejection: explicitly denied by: default/no-client"';
    const line = await there.one('src.workload="client"');
    assert.match(line, new RegExp(`\terror\taccess\tconnection complete\tsrc.addr=${client.ip}:`));
    assert.match(
      line,
      new RegExp(` dst.addr=${web.ip}:15008 dst.hbone_addr=${web.ip}:8080 dst.workload="web" `),
    );
    assert.match(
      line,
      new RegExp(` direction="inbound" bytes_sent=0 bytes_recv=0 duration="\\d+ms" ${denied}$`),
    );
    assert.match(await here.one('src.workload="client"'), / error="http status: 401 Unauthorized"$/);
    await assert.rejects(world.call(outsider, web.ip, 8080), /ECONNRESET/);
    const plain = await there.one('src.workload="outsider"');
    assert.match(plain, new RegExp(` dst.addr=${web.ip}:8080 .* ${denied}$`));
    assert.doesNotMatch(plain, /identity="spiffe:[^"]*outsider/);
    assert.equal(
      await node.metric('istio_tcp_connections_failed_total', 'response_flags="DENY"'),
      before + 2,
    );
    assert.equal(
      await node.metric('istio_tcp_connections_failed_total', 'source_workload="client"', 'mutual_tls'),
      await node.metric('istio_tcp_connections_closed_total', 'source_workload="client"', '"DENY"'),
    );
  });

  test('when none of the policies that allow does, the log says so', async () => {
    await set(policy('p', 'Allow'));
    const there = node.watch();
    await assert.rejects(world.call(client, web.ip, 8080), /ECONNRESET/);
    const line = await there.one('direction="inbound"');
    assert.match(
      line,
      / error="connection closed due to policy rejection: allow policies exist, but none allowed"$/,
    );
  });

  test('a policy that the workload lists and nobody has sent refuses, until it is there', async () => {
    await list('default/late');
    const there = node.watch();
    assert.deepEqual(await admitted(), []);
    const [line] = await there.find('src.workload="client"');
    assert.match(
      line ?? '',
      / error="connection closed due to policy rejection: a policy that the workload lists is not known: default\/late"$/,
    );
    await set(
      policy('late', 'Deny', { namespaces: [exact('elsewhere')] }, { scope: 'WorkloadSelector' }),
      policy('not-listed', 'Deny', {}, { scope: 'WorkloadSelector' }),
    );
    assert.deepEqual(await admitted(), ['client', 'outsider']);
  });

  suite('connections that are open', () => {
    /** One of each of the three, all of them answering. */
    async function opened() {
      const [a, b, c] = [
        await world.talk(client, web.ip),
        await world.talk(stranger, web.ip),
        await world.talk(outsider, web.ip),
      ];
      for (const talk of [a, b, c]) await talk.echo('before');
      return { client: a, stranger: b, outsider: c, all: [a, b, c] };
    }
    const closed = 'error="connection closed due to policy change"';

    test('are cut when a policy refuses them; others stay', async () => {
      const open = await opened();
      const there = node.watch();
      const start = Date.now();
      await set(policy('p', 'Deny', { namespaces: [exact('default')] }));
      assert.equal(await open.client.end(1000), 'ECONNRESET');
      assert.ok(Date.now() - start < 500);
      await open.stranger.echo('after');
      await open.outsider.echo('after');
      const line = await there.one(closed);
      assert.match(
        line,
        /\terror\taccess\tconnection complete\t.* src.workload="client" .*direction="inbound"/,
      );
      assert.match(line, / bytes_sent=\d\d bytes_recv=6 /);

      await set(policy('strict', 'Deny', { notPrincipals: [presence] }));
      assert.equal(await open.outsider.end(1000), 'ECONNRESET');
      await open.stranger.echo('still');
      assert.equal((await there.find(closed, 'src.workload="outsider"')).length, 1);

      await set(policy('only', 'Allow', { destinationPorts: [1] }));
      assert.equal(await open.stranger.end(1000), 'ECONNRESET');
      await node.settled();
      assert.equal((await there.find(closed)).length, 3);
    });

    test('are cut when a policy is changed in place', async () => {
      await set(policy('p', 'Deny', { namespaces: [exact('nobody')] }));
      const open = await opened();
      await set(policy('p', 'Deny', { namespaces: [exact('default')] }));
      assert.equal(await open.client.end(1000), 'ECONNRESET');
      await open.stranger.echo('after');
    });

    test('are cut when a policy that allowed them goes and another remains', async () => {
      await set(
        policy('one', 'Allow', { namespaces: [exact('default')] }),
        policy('two', 'Allow', { namespaces: [exact('elsewhere')] }),
        policy('three', 'Allow', { sourceIps: [ip(outsider.ip)] }),
      );
      const open = await opened();
      world.dropPolicies('default/one');
      assert.equal(await open.client.end(1000), 'ECONNRESET');
      await open.stranger.echo('after');
      await open.outsider.echo('after');
    });

    test('are cut when the workload comes to list a policy that refuses them', async () => {
      await set(policy('p', 'Deny', { namespaces: [exact('default')] }, { scope: 'WorkloadSelector' }));
      const open = await opened();
      await list('default/p');
      assert.equal(await open.client.end(1000), 'ECONNRESET');
      await open.stranger.echo('after');
    });

    test('stay when records change that have nothing to do with them', async () => {
      const open = await opened();
      const there = node.watch();
      world.update(web, { canonicalRevision: 'v2', services: { 'default/x.example': [] } });
      world.update(client, { status: 'Unhealthy' });
      await set(policy('p', 'Deny', {}, { namespace: 'elsewhere' }));
      for (const talk of open.all) await talk.echo('after');
      world.update(client, { status: 'Healthy' });
      assert.deepEqual(there.lines, []);
    });

    test('stay while the control plane does not know the pod; nothing new comes in', async () => {
      await set(policy('p', 'Deny', { namespaces: [exact('nobody')] }, { scope: 'WorkloadSelector' }));
      await list('default/p');
      const open = await opened();
      node.store.apply({ removedWorkloads: [web.workload.uid] });
      await world.settled();
      for (const talk of open.all) await talk.echo('after');
      const there = node.watch();
      const held = world.call(outsider, web.ip, 8080);
      await assert.rejects(world.call(client, web.ip, 8080), /ECONNRESET/);
      assert.match(
        await there.one('direction="inbound"'),
        /\twarn\taccess\tconnection failed\t.* error="unknown destination: the pod is not known any more"$/,
      );
      world.tell({ addresses: [web.workload] });
      assert.match(await held, /sees/, 'a plaintext connection waits for the record');
      world.policies(policy('p', 'Deny', { namespaces: [exact('default')] }, { scope: 'WorkloadSelector' }));
      assert.equal(await open.client.end(1000), 'ECONNRESET');
    });

    test('a policy that arrives while the application is dialled ends the connection', async () => {
      await blackHole(web.netns, 7777);
      const there = node.watch();
      const here = world.node('one').watch();
      const call = world.call(client, web.ip, 7777);
      const plain = world.call(outsider, web.ip, 7777);
      call.catch(() => {});
      plain.catch(() => {});
      for (let i = 0; (await node.connections()).length < 2 && i < 100; i++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      await set(policy('p', 'Deny', { destinationPorts: [7777] }));
      await assert.rejects(call, /ECONNRESET/);
      await assert.rejects(plain, /ECONNRESET/);
      assert.match(await here.one('direction="outbound"'), / error="http status: 401 Unauthorized"$/);
      assert.match(
        await there.one('src.workload="client"'),
        / error="connection closed due to policy change"$/,
      );
      await there.one('src.workload="outsider"', closed);
      assert.deepEqual(await node.connections(), []);
    });
  });
});

// The data path in real network namespaces: what a captured pod's traffic turns into, seen by its application and
// in the access log.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { World, type Pod } from './world.ts';

suite('pods on two nodes', () => {
  let world: World;
  let client: Pod;
  let near: Pod;
  let far: Pod;
  let outsider: Pod;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    near = await world.pod({ name: 'near', node: 'one' });
    far = await world.pod({ name: 'far', node: 'two' });
    outsider = await world.pod({ name: 'outsider', node: 'two', plain: true });
    for (const pod of [near, far, outsider]) world.echo(pod);
    world.service('web', '10.200.0.1', [far]);
  });
  after(() => world[Symbol.asyncDispose]());

  test('same node: HBONE, and the application sees the client', async () => {
    assert.equal(await world.call(client, near.ip, 8080), `near sees ${client.ip}\nhello`);
    const [outbound] = await world
      .node('one')
      .find('connection complete', 'direction="outbound"', 'dst.workload="near"');
    assert.match(
      outbound ?? '',
      new RegExp(
        `\\tinfo\\taccess\\tconnection complete\\tsrc.addr=${client.ip}:\\d+ src.workload="client" src.namespace="default" ` +
          `src.identity="spiffe://cluster.local/ns/default/sa/client" src.cluster="Kubernetes" ` +
          `dst.addr=${near.ip}:15008 dst.hbone_addr=${near.ip}:8080 dst.workload="near" dst.namespace="default" ` +
          `dst.identity="spiffe://cluster.local/ns/default/sa/near" dst.cluster="Kubernetes" ` +
          `direction="outbound" bytes_sent=5 bytes_recv=\\d+ duration="\\d+ms"$`,
      ),
    );
    const [inbound] = await world.node('one').find('direction="inbound"', 'dst.workload="near"');
    assert.match(
      inbound ?? '',
      new RegExp(
        `src.workload="client".* dst.addr=${near.ip}:15008 dst.hbone_addr=${near.ip}:8080 .*direction="inbound" bytes_sent=\\d+ bytes_recv=5 `,
      ),
    );
  });

  test('across nodes: one line on each side', async () => {
    assert.equal(await world.call(client, far.ip, 8080), `far sees ${client.ip}\nhello`);
    assert.equal(
      (await world.node('one').find('direction="outbound"', `dst.hbone_addr=${far.ip}:8080`)).length,
      1,
    );
    assert.equal(
      (await world.node('two').find('direction="inbound"', `dst.hbone_addr=${far.ip}:8080`)).length,
      1,
    );
  });

  test('by service address', async () => {
    assert.equal(await world.call(client, '10.200.0.1', 80), `far sees ${client.ip}\nhello`);
    const [line] = await world.node('one').find('dst.service="web.default.svc.cluster.local"', 'outbound');
    assert.match(line ?? '', new RegExp(`dst.addr=${far.ip}:15008 dst.hbone_addr=${far.ip}:8080`));
  });

  test('to a pod outside the mesh: plain TCP', async () => {
    assert.equal(await world.call(client, outsider.ip, 8080), `outsider sees ${client.ip}\nhello`);
    const [line] = await world.node('one').find('dst.workload="outsider"');
    assert.match(line ?? '', new RegExp(`dst.addr=${outsider.ip}:8080 dst.workload="outsider"`));
    assert.doesNotMatch(line ?? '', /hbone_addr|identity/);
  });

  test('from a pod outside the mesh: caught on 15006, and the application still sees it', async () => {
    assert.equal(await world.call(outsider, far.ip, 8080), `far sees ${outsider.ip}\nhello`);
    const [line] = await world.node('two').find('src.workload="outsider"', 'direction="inbound"');
    assert.match(line ?? '', new RegExp(`dst.addr=${far.ip}:8080 `));
    assert.doesNotMatch(line ?? '', /src.identity/);
  });

  test('a large answer arrives whole, both ways at once', async () => {
    const text = 'x'.repeat(8 * 1024 * 1024);
    const answer = await world.call(client, far.ip, 8080, text);
    assert.equal(answer.length, text.length + `far sees ${client.ip}\n`.length);
  });

  test('a port nobody listens on: the client is refused, and both sides say why', async () => {
    await assert.rejects(world.call(client, far.ip, 9999), /ECONNRESET/);
    const [out] = await world.node('one').find('error', `dst.hbone_addr=${far.ip}:9999`);
    assert.match(
      out ?? '',
      /\terror\taccess\tconnection complete.*error="http status: 503 Service Unavailable"$/,
    );
    const [inbound] = await world.node('two').find('error', `dst.hbone_addr=${far.ip}:9999`);
    assert.match(inbound ?? '', /error="connection failed: .*: Connection refused"$/);
  });
});

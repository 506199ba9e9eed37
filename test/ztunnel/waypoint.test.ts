// Traffic to and from waypoints and gateways, which speak HBONE themselves: requests by the name of a service, for
// addresses that a pod is the waypoint of, with PROXY headers, from other networks.
import assert from 'node:assert/strict';
import type { ClientHttp2Session } from 'node:http2';
import { after, afterEach, before, suite, test } from 'node:test';
import { gateway as named } from '../mesh-records.ts';
import { askConnect, http2Over, tlsIdentity } from './raw-peer.ts';
import { World, type Pod } from './world.ts';

suite('what a waypoint asks for, and what it is asked', () => {
  let world: World;
  let gateway: Pod;
  let web: Pod;
  let waypoint: Pod;
  let sessions: ClientHttp2Session[] = [];

  before(async () => {
    world = await World.make();
    gateway = await world.pod({ name: 'gateway', node: 'one', plain: true });
    web = await world.pod({ name: 'web', node: 'two' });
    waypoint = await world.pod({ name: 'waypoint', node: 'two' });
    world.echo(web);
    world.service('web', '10.200.0.1', [web]);
    const hbone = [{ servicePort: 15008, targetPort: 15008 }];
    const { namespace, hostname } = world.service('waypoint', '10.200.0.2', [waypoint], {
      ports: [{ servicePort: 15008, targetPort: 15008, appProtocol: 'UNKNOWN' }],
    });
    world.update(waypoint, { services: { [`${namespace}/${hostname}`]: hbone } });
  });
  after(() => world[Symbol.asyncDispose]());
  afterEach(() => {
    for (const session of sessions) session.destroy();
    sessions = [];
    return world.quiet();
  });

  /** A session of the gateway, which speaks HBONE itself, to a pod. */
  async function peer(to: Pod): Promise<ClientHttp2Session> {
    const identity = tlsIdentity(await world.certificate(world.identity(gateway)));
    const session = await http2Over(world.connect(gateway, to.ip, 15008), identity);
    sessions.push(session);
    return session;
  }

  test('a service by its name: the port is the one on this pod', async () => {
    const session = await peer(web);
    const watch = world.node('two').watch();
    const { status, stream } = await askConnect(session, 'web.default.svc.cluster.local:80');
    assert.equal(status, 200);
    stream.end();
    await new Promise((resolve) => stream.resume().once('close', resolve));
    const line = await watch.one('connection complete');
    assert.match(
      line,
      / dst.hbone_addr=web.default.svc.cluster.local:80 dst.service="web.default.svc.cluster.local" /,
    );
    for (const authority of ['web.default.svc.cluster.local:81', 'other.default.svc.cluster.local:80'])
      assert.equal((await askConnect(session, authority)).status, 503, authority);
  });

  test('a waypoint takes what names it as waypoint; another pod does not', async () => {
    world.echo(waypoint, 80);
    const guarded = { waypoint: named('default/waypoint.default.svc.cluster.local') };
    world.service('guarded', '10.200.0.3', [web], guarded);
    await world.settled();
    assert.equal((await askConnect(await peer(waypoint), '10.200.0.3:80')).status, 200);
    assert.equal((await askConnect(await peer(web), '10.200.0.3:80')).status, 400);
    assert.equal((await askConnect(await peer(waypoint), '10.200.0.1:80')).status, 400);
  });

  test('an application that takes PROXY headers learns client, destination and identity', async () => {
    world.update(waypoint, { applicationTunnel: { protocol: 'PROXY', port: 7000 } });
    const arrived = new Promise<Buffer>((resolve) => {
      world.listen(waypoint, 7000, (socket) => socket.once('data', resolve));
    });
    await world.settled();
    const { status, stream } = await askConnect(await peer(waypoint), '10.200.0.3:80');
    assert.equal(status, 200);
    stream.write('the rest');
    const header = await arrived;
    assert.equal(header.subarray(0, 12).toString('latin1'), '\r\n\r\n\0\r\nQUIT\n');
    assert.deepEqual([...header.subarray(12, 14)], [0x21, 0x11]);
    const address = (at: number) => header.subarray(at, at + 4).join('.');
    assert.deepEqual([address(16), address(20), header.readUInt16BE(26)], [gateway.ip, '10.200.0.3', 80]);
    assert.equal(header[28], 0xd0);
    const identity = header.subarray(31, 31 + header.readUInt16BE(29)).toString();
    assert.equal(identity, world.identity(gateway));
  });

  test('a source that came through a gateway of another network is what it says, not whose address it has', async () => {
    const watch = world.node('two').watch();
    const { stream } = await askConnect(await peer(web), `${web.ip}:8080`, {
      'x-forwarded-network': 'elsewhere',
      baggage: 'k8s.cluster.name=c2,k8s.namespace.name=n2,k8s.deployment.name=d2,service.name=s2',
    });
    stream.end();
    const line = await watch.one('connection complete');
    assert.match(line, / src.workload="s2" src.namespace="n2" src.identity="\S*gateway" src.cluster="c2" /);
  });

  test('a client goes to the waypoint of a service, with the address that it asked for', async () => {
    world.update(waypoint, { applicationTunnel: { protocol: 'NONE', port: 0 } });
    const client = await world.pod({ name: 'client', node: 'one' });
    const [out, inbound] = [world.node('one').watch(), world.node('two').watch()];
    assert.equal(await world.call(client, '10.200.0.3', 80), `waypoint sees ${client.ip}\nhello`);
    const line = await out.one('connection complete');
    assert.match(
      line,
      new RegExp(
        ` dst.addr=${waypoint.ip}:15008 dst.hbone_addr=10.200.0.3:80 dst.service="guarded.default.svc.cluster.local" dst.workload="waypoint"`,
      ),
    );
    await inbound.one('connection complete', 'dst.hbone_addr=10.200.0.3:80', 'dst.workload="waypoint"');
  });
});

// Applications that call the proxy's own ports do not make it call itself; and how many connections a pod may have.
import assert from 'node:assert/strict';
import { after, afterEach, before, suite, test } from 'node:test';
import { Talk } from './talk.ts';
import { World, type Pod } from './world.ts';

suite('an application that calls the proxy', () => {
  let world: World;
  let client: Pod;
  let outsider: Pod;
  let web: Pod;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    outsider = await world.pod({ name: 'outsider', node: 'one', plain: true });
    web = await world.pod({ name: 'web', node: 'two' });
  });
  after(() => world[Symbol.asyncDispose]());
  afterEach(() => world.quiet());

  const ports = [15001, 15006, 15008];
  const rows: readonly (readonly [string, () => Pod, () => string])[] = [
    ['its own, on loopback', () => client, () => '127.0.0.1'],
    ['its own, by another name for loopback', () => client, () => '127.3.2.1'],
    ["its own, by the pod's address", () => client, () => client.ip],
    ["another pod's", () => client, () => web.ip],
    ["another pod's, from outside the mesh", () => outsider, () => web.ip],
  ];
  for (const [name, from, to] of rows)
    test(name, async () => {
      const watches = [world.node('one').watch(), world.node('two').watch()];
      for (const port of ports) {
        const talk = new Talk(world.connect(from(), to(), port));
        talk.socket.write('GET / HTTP/1.1\r\n\r\n');
        const outcome = await talk.end(2000);
        assert.equal(talk.received, '', `port ${port} answered`);
        assert.ok(outcome === 'ECONNRESET' || outcome === 'end', outcome);
      }
      await world.settled();
      // The threads write in no order: lines of the start may come between.
      const lines = watches.flatMap((watch) =>
        watch.lines.filter((line) => line.split('\t')[2] === 'access'),
      );
      assert.ok(lines.length >= 3 && lines.length <= 6, `a loop? ${lines.join('\n')}`);
      for (const line of lines) assert.match(line, /error="/);
    });
});

test('a pod takes only so many connections', async (t) => {
  const world = await World.make({ maxConnectionsPerPod: 5 });
  t.after(() => world[Symbol.asyncDispose]());
  const client = await world.pod({ name: 'client', node: 'one' });
  const outsider = await world.pod({ name: 'outsider', node: 'one', plain: true });
  const web = await world.pod({ name: 'web', node: 'two' });
  world.echo(web);
  const held: Talk[] = [];
  for (let i = 0; i < 5; i++) held.push(await world.talk(outsider, web.ip));
  const watch = world.node('two').watch();
  const plain = new Talk(world.connect(outsider, web.ip, 8080));
  plain.socket.write('x');
  await plain.end(1000);
  await watch.one('connection failed', `src.addr=${outsider.ip}:`, 'error="too many connections"');
  await assert.rejects(world.call(client, web.ip, 8080), /ECONNRESET/);
  await watch.one('connection failed', `src.addr=${client.ip}:`, 'error="too many connections"');
  const stalled = Array.from({ length: 7 }, () => new Talk(world.connect(outsider, web.ip, 15008)));
  await Promise.any(stalled.map((talk) => talk.end(1000)));
  const full = [`dst.addr=${web.ip}:15008`, `src.addr=${outsider.ip}:`, 'error="too many connections"'];
  for (let i = 0; (await watch.find(...full)).length < 3 && i < 100; i++) await world.settled();
  assert.equal((await watch.find(...full)).length, 3, '7 and a session, of 5');
  for (const talk of held) await talk.echo('still here');
  held.pop()?.socket.destroy();
  for (let i = 0; (await world.node('two').connections()).length > 4 && i < 100; i++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  assert.match(await world.call(outsider, web.ip, 8080), /^web sees/, 'one that ends makes room for another');
});

import { World, kernel } from '/work/main/test/ztunnel/world.ts';
import { spawnInNetns } from '/work/main/src/sys/index.ts';
const world = await World.make();
const c = await world.pod({ name: 'client', node: 'one' });
const s = await world.pod({ name: 'server', node: 'two' });
const pc = await world.pod({ name: 'pc', node: 'one', plain: true });
const ps = await world.pod({ name: 'ps', node: 'two', plain: true });
const kids = [s, ps].flatMap((p) => [
  spawnInNetns(p.netns, [process.execPath, '/tmp/trial/srv.mjs', '9000'], { stdio: 'ignore' }),
]);
await new Promise((r) => setTimeout(r, 700));
for (const [name, a, b] of [
  ['direct', pc, ps],
  ['mesh', c, s],
] as const) {
  const ts: number[][] = [];
  for (let i = 0; i < 300; i++) {
    const t0 = performance.now();
    let t1 = 0;
    await new Promise<void>((res) => {
      const k = kernel.connect({ netns: a.netns, ip: b.ip, port: 9000 });
      k.on('connect', () => {
        t1 = performance.now();
        k.write('GET / HTTP/1.1\r\nConnection: close\r\n\r\n');
      });
      let t2 = 0;
      k.once('data', () => {
        t2 = performance.now();
      });
      k.on('data', () => {});
      k.on('end', () => {
        k.end();
        const t3 = performance.now();
        ts.push([t1 - t0, t2 - t1, t3 - t2]);
      });
      k.on('close', () => res());
    });
  }
  const med = (j: number) =>
    ts
      .map((x) => x[j]!)
      .sort((x, y) => x - y)[150]!
      .toFixed(3);
  console.log(name, 'connect', med(0), 'first byte', med(1), 'end', med(2));
}
for (const k of kids) k.kill();
await world[Symbol.asyncDispose]();
process.exit(0);

import { World } from '../test/ztunnel/world.ts';
import { spawnInNetns, runCommand } from '#/sys/index.ts';
const what = process.argv[2] ?? 'all';
const world = await World.make();
const c = await world.pod({ name: 'client', node: 'one' });
const s = await world.pod({ name: 'server', node: 'two' });
const pc = await world.pod({ name: 'pc', node: 'one', plain: true });
const ps = await world.pod({ name: 'ps', node: 'two', plain: true });
const kids = [s, ps].flatMap((p) => [
  spawnInNetns(p.netns, [process.execPath, '/tmp/trial/srv.mjs', '9000'], { stdio: 'ignore' }),
  spawnInNetns(p.netns, ['iperf3', '-s', '-p', '9001'], { stdio: 'ignore' }),
]);
await new Promise((r) => setTimeout(r, 700));
for (const p of [c, s, pc, ps])
  console.log(
    (
      await runCommand(
        ['sysctl', '-w', 'net.ipv4.ip_local_port_range=1024 65535', 'net.ipv4.tcp_tw_reuse=1'],
        { netns: p.netns },
      )
    ).stderr,
  );
const { readdirSync, readFileSync } = await import('node:fs');
const threads = (pid: number | string) =>
  readdirSync(`/proc/${pid}/task`).map((t) => {
    const f = readFileSync(`/proc/${pid}/task/${t}/stat`, 'utf8');
    const n = f.slice(f.indexOf('(') + 1, f.lastIndexOf(')'));
    const r = f.slice(f.lastIndexOf(')') + 2).split(' ');
    return { t, n, u: +r[11]! * 10, s: +r[12]! * 10 };
  });
const usage = () => threads('self').concat(...kids.map((k) => threads(k.pid!)));
const diff = (a: ReturnType<typeof usage>, b: ReturnType<typeof usage>) =>
  b
    .map((x) => {
      const y = a.find((z) => z.t === x.t) ?? { u: 0, s: 0 };
      return `${x.n}: u${x.u - y.u} s${x.s - y.s}`;
    })
    .filter((x) => !x.includes('u0 s0'))
    .join(' | ');
const run = async (p: typeof c, argv: string[]) => {
  const r = await runCommand(argv, { netns: p.netns, timeoutMs: 60000 });
  return r.stdout + r.stderr;
};
try {
  for (const [name, a, b] of [
    ['direct', pc, ps],
    ['mesh', c, s],
  ] as const) {
    if (what === 'mesh-conn' && name === 'direct') continue;
    const url = `http://${b.ip}:9000/`;
    const rps = (t: string) =>
      t.match(/Requests\/sec: +(\S+)/)?.[1] +
      ' ' +
      (t.match(/50% +(\S+)/)?.[1] ?? '') +
      ' ' +
      (t.match(/99% +(\S+)/)?.[1] ?? '') +
      (t.match(/Socket errors.*/)?.[0] ?? '');
    if (what === 'all') {
      console.log(
        name,
        'iperf1',
        (
          JSON.parse(await run(a, ['iperf3', '-c', b.ip, '-p', '9001', '-t', '4', '-J'])).end.sum_received
            .bits_per_second / 1e9
        ).toFixed(2),
      );
      console.log(
        name,
        'iperf8',
        (
          JSON.parse(await run(a, ['iperf3', '-c', b.ip, '-p', '9001', '-t', '4', '-P', '8', '-J'])).end
            .sum_received.bits_per_second / 1e9
        ).toFixed(2),
      );
      console.log(name, 'rps32', rps(await run(a, ['wrk', '-t1', '-c32', '-d4', '--latency', url])));
      console.log(name, 'rps1', rps(await run(a, ['wrk', '-t1', '-c1', '-d3', '--latency', url])));
    }
    const u0 = usage();
    console.log(
      name,
      'conn32',
      rps(await run(a, ['wrk', '-t1', '-c32', '-d7', '--latency', '-H', 'Connection: close', url])),
    );
    console.log(diff(u0, usage()), readFileSync('/proc/loadavg', 'utf8').trim());
    console.log(
      name,
      'conn8',
      rps(await run(a, ['wrk', '-t1', '-c8', '-d4', '--latency', '-H', 'Connection: close', url])),
    );
  }
  for (const p of [c, s])
    console.log(
      p.spec.name,
      await run(p, [
        'sh',
        '-c',
        'nstat -az | grep -E "Retrans|TW|Drop|Overflow|TCPTimeouts|ListenOver|Abort|EmbryonicRsts|InErrs|OutRsts|EstabResets" | grep -v " 0 "',
      ]),
    );
} finally {
  for (const k of kids) k.kill('SIGKILL');
  await world[Symbol.asyncDispose]();
  process.exit(0);
}

// `npm run bench -- NAME [options]`: one file per bench. A bench prints a table, and the same figures as JSON.
const benches: Readonly<Record<string, { file: string; summary: string }>> = {
  l4: { file: './l4.ts', summary: "direct traffic against the same traffic through two nodes' ztunnels" },
  l7: { file: './l7.ts', summary: 'direct, through ztunnels, and through a waypoint: HTTP/1.1 and gRPC' },
  control: { file: './control.ts', summary: 'the control plane with 1 000, 10 000 and 100 000 pods' },
  apiserver: {
    file: './apiserver.ts',
    summary: 'the embedded API with 50 000 objects: writes, lists, watches',
  },
};

const [name, ...args] = process.argv.slice(2);
const bench = name === undefined ? undefined : benches[name];
if (bench === undefined) {
  const list = Object.entries(benches).map(([key, { summary }]) => `  ${key.padEnd(9)} ${summary}`);
  console.error(`usage: npm run bench -- NAME [options]\n${list.join('\n')}`);
  process.exitCode = 2;
} else {
  const { run } = (await import(bench.file)) as { run: (args: readonly string[]) => Promise<void> };
  await run(args);
}

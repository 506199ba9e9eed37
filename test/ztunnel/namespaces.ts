// What is done inside the namespaces of the test mesh: links and addresses, the rules of a captured pod, rules that
// get in a connection's way.
import { addRouting, captureDefaults, podRules, restoreInput } from '#/capture/index.ts';
import { runCommand, type Netns } from '#/sys/index.ts';

export async function run(netns: Netns, argv: readonly string[], input?: string): Promise<void> {
  const { code, stderr } = await runCommand([...argv], { netns, ...(input !== undefined && { input }) });
  if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
}

/** Commands of iproute2, without the leading `ip`. */
export async function ip(netns: Netns, ...commands: readonly string[]): Promise<void> {
  await run(netns, ['ip', '-batch', '-'], `${commands.join('\n')}\n`);
}

/** The rules of a captured pod. */
export async function capture(
  netns: Netns,
  options: { readonly ipv6: boolean; readonly dnsCapture: boolean },
): Promise<void> {
  for (const family of options.ipv6 ? ([4, 6] as const) : ([4] as const)) {
    const restore = family === 4 ? 'iptables-restore' : 'ip6tables-restore';
    await run(
      netns,
      [restore, '--noflush'],
      restoreInput(podRules({ ...captureDefaults, ...options }, family)),
    );
    for (const { argv } of addRouting(family)) await run(netns, argv[0] === 'ip' ? argv : ['ip', ...argv]);
  }
}

/** Packets to the port vanish: it can be dialled, but does not answer. */
export async function blackHole(netns: Netns, port: number): Promise<void> {
  await block(netns, port, 'DROP');
}

/** Packets to the port are answered with an ICMP error. */
export async function unreachable(netns: Netns, port: number, error: string): Promise<void> {
  await block(netns, port, 'REJECT', '--reject-with', error);
}

async function block(netns: Netns, port: number, ...target: string[]): Promise<void> {
  await run(netns, ['iptables', '-A', 'INPUT', '-p', 'tcp', '--dport', String(port), '-j', ...target]);
}

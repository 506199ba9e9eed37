// Finds a running pod's network namespace by its processes: /proc/PID/cgroup names the pod's UID, /proc/PID/ns/net is
// the namespace. Also finds the kubelet. Reads /proc; changes nothing.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { parseIp } from '#/kit/index.ts';
import type { Kernel, Netns } from '#/sys/index.ts';

/**
 * The pod UID that a /proc/PID/cgroup names. The runtimes write `kubepods/besteffort/pod<UID>/<container>` or, with
 * systemd, `kubepods-besteffort-pod<UID with _>.slice/…`; static pods have a hash of 32 digits.
 */
export function podUidOfCgroup(text: string): string | undefined {
  const match =
    /(?:^|[/:-])pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:[/:]|$)/im.exec(
      text,
    );
  return match?.[1]?.replaceAll('_', '-').toLowerCase();
}

interface Candidate {
  readonly pid: number;
  /** `net:[4026531840]` */
  readonly netns: string;
  /** Clock ticks since boot. */
  readonly started: number;
}

export type PodProcesses = ReadonlyMap<string, readonly Candidate[]>;

/** Field 22 of /proc/PID/stat; the name in field 2 may hold blanks and brackets. */
export function startTime(stat: string): number {
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
}

function tryRead<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined; // the process has ended
  }
}

/** All processes of pods, oldest first, one per pod and namespace; those in the host's namespace are left out. */
export function scanPods(proc: string): PodProcesses {
  const host = tryRead(() => readlinkSync(`${proc}/self/ns/net`));
  const found = new Map<string, Candidate[]>();
  for (const name of readdirSync(proc)) {
    if (!/^[0-9]+$/.test(name)) continue;
    const cgroup = tryRead(() => readFileSync(`${proc}/${name}/cgroup`, 'utf8'));
    const uid = cgroup === undefined ? undefined : podUidOfCgroup(cgroup);
    if (uid === undefined) continue;
    const netns = tryRead(() => readlinkSync(`${proc}/${name}/ns/net`));
    const stat = tryRead(() => readFileSync(`${proc}/${name}/stat`, 'utf8'));
    if (netns === undefined || stat === undefined || netns === host) continue;
    const candidate = { pid: Number(name), netns, started: startTime(stat) };
    const list = found.get(uid);
    if (list === undefined) found.set(uid, [candidate]);
    else list.push(candidate);
  }
  for (const [uid, list] of found) {
    list.sort((a, b) => a.started - b.started || a.pid - b.pid);
    const seen = new Set<string>();
    found.set(
      uid,
      list.filter(({ netns }) => !seen.has(netns) && seen.add(netns)),
    );
  }
  return found;
}

/**
 * The addresses of the interfaces that are up in a namespace, without those of lo. From /proc, not from
 * os.networkInterfaces: that leaves out interfaces that are not "running" yet, which a new veth may take a second for.
 */
export function addressesIn(kernel: Kernel, netns: Netns): string[] {
  const [trie, inet6] = kernel.inNetns(netns, () => [
    readFileSync('/proc/thread-self/net/fib_trie', 'utf8'),
    tryRead(() => readFileSync('/proc/thread-self/net/if_inet6', 'utf8')) ?? '',
  ]);
  return [...localAddresses4(trie), ...localAddresses6(inet6)];
}

/** From /proc/net/fib_trie: `|-- 10.0.0.5` followed by `/32 host LOCAL`. */
export function localAddresses4(trie: string): string[] {
  const found = [...trie.matchAll(/\|-- ([0-9.]+)\n\s*\/32 host LOCAL/g)].map((match) => match[1] as string);
  return [...new Set(found)].filter((ip) => !ip.startsWith('127.'));
}

/** From /proc/net/if_inet6: 32 digits, index, length, scope, flags and name of the interface. */
export function localAddresses6(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !/\slo$/.test(line))
    .flatMap((line) => parseIp((line.slice(0, 32).match(/.{4}/g) ?? []).join(':')) ?? []);
}

/** True if one of the pod's addresses is on an interface in the namespace: else it is another pod's. */
export function holdsAddress(kernel: Kernel, netns: Netns, podIps: readonly string[]): boolean {
  const held = new Set(addressesIn(kernel, netns));
  return podIps.some((ip) => held.has(parseIp(ip) ?? ''));
}

/**
 * Opens the namespace of a running pod: that of its oldest process which holds one of the pod's addresses. A process
 * that has ended meanwhile, its number taken by another, is noticed by reading the cgroup again.
 */
export function openPodNetns(
  kernel: Kernel,
  proc: string,
  processes: PodProcesses,
  uid: string,
  podIps: readonly string[],
): Netns | { readonly reason: string } {
  const candidates = processes.get(uid.toLowerCase()) ?? [];
  if (candidates.length === 0) return { reason: 'no process of it runs in a network namespace of its own' };
  if (podIps.length === 0) return { reason: 'it has no address yet' };
  for (const { pid } of candidates) {
    const netns = tryRead(() => kernel.openNetns(`${proc}/${pid}/ns/net`));
    if (netns === undefined) continue;
    const cgroup = tryRead(() => readFileSync(`${proc}/${pid}/cgroup`, 'utf8'));
    if (
      cgroup !== undefined &&
      podUidOfCgroup(cgroup) === uid.toLowerCase() &&
      holdsAddress(kernel, netns, podIps)
    )
      return netns;
    netns[Symbol.dispose]();
  }
  return { reason: `none of its network namespaces has one of its addresses (${podIps.join(', ')})` };
}

/** The user that the kubelet runs as, for the nftables backend; 0 if none is found. */
export function kubeletUid(proc: string): number {
  for (const name of readdirSync(proc)) {
    if (!/^[0-9]+$/.test(name)) continue;
    const comm = tryRead(() => readFileSync(`${proc}/${name}/comm`, 'utf8'))?.trim();
    if (comm !== 'kubelet' && comm !== 'kubelite' && comm !== 'k3s') continue;
    const status = tryRead(() => readFileSync(`${proc}/${name}/status`, 'utf8'));
    const uid = /^Uid:\t(\d+)/m.exec(status ?? '')?.[1];
    if (uid !== undefined) return Number(uid);
  }
  return 0;
}

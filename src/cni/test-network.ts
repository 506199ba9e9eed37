// For tests, as root: a host and pods as real network namespaces, each pod joined to the host by a veth pair.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, Socket, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import type { TestContext } from 'node:test';
import {
  checkCommand,
  createNetns,
  deleteNetns,
  linuxKernel,
  socketFd,
  type Kernel,
  type Netns,
} from '#/sys/index.ts';

export interface TestPod {
  readonly netns: Netns;
  readonly path: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

export interface TestNetwork {
  readonly kernel: Kernel;
  readonly host: Netns;
  readonly dir: string;
  /** Nth pod: 10.88.N.2 and fd88:N::2, its gateway on the host .1. */
  pod(n: number): Promise<TestPod>;
}

/** Everything is removed when the test ends. */
export async function testNetwork(t: TestContext): Promise<TestNetwork> {
  const kernel = linuxKernel();
  const dir = mkdtempSync(`${tmpdir()}/aura-cni-`);
  const paths: string[] = [];
  const handles: Netns[] = [];
  t.after(() => {
    for (const netns of handles) netns[Symbol.dispose]();
    for (const path of paths) deleteNetns(path);
    rmSync(dir, { recursive: true });
  });
  const make = (name: string) => {
    const path = `${dir}/netns-${name}`;
    const netns = createNetns(path);
    paths.push(path);
    handles.push(netns);
    return { netns, path };
  };
  const host = make('host').netns;
  const ip = (netns: Netns, text: string) => checkCommand(['ip', ...text.split(' ')], { netns });
  await checkCommand(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'], {
    netns: host,
  });
  // Duplicate address detection would make the first packets wait for two seconds.
  const noDad = ['sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0'];
  await checkCommand(noDad, { netns: host });
  return {
    kernel,
    host,
    dir,
    pod: async (n) => {
      const { netns, path } = make(`pod${n}`);
      await checkCommand(noDad, { netns });
      await checkCommand(
        [
          'ip',
          'link',
          'add',
          `h${n}`,
          'type',
          'veth',
          'peer',
          'name',
          'eth0',
          'netns',
          `/proc/${process.pid}/fd/${netns.fd}`,
        ],
        { netns: host },
      );
      for (const [where, link, end] of [
        [host, `h${n}`, 1],
        [netns, 'eth0', 2],
      ] as const) {
        await ip(where, `addr add 10.88.${n}.${end}/24 dev ${link}`);
        await ip(where, `addr add fd88:${n}::${end}/64 dev ${link} nodad`);
        await ip(where, `link set ${link} up`);
      }
      await ip(netns, `route add default via 10.88.${n}.1`);
      await ip(netns, `-6 route add default via fd88:${n}::1`);
      return { netns, path, ipv4: `10.88.${n}.2`, ipv6: `fd88:${n}::2` };
    },
  };
}

export interface Heard {
  /** Where the client wanted to go, as the kernel remembers it. */
  readonly original: string;
  readonly peer: string;
}

/** A listener in a namespace that answers every connection with its name, and remembers who called. */
export async function listener(
  t: TestContext,
  network: TestNetwork,
  netns: Netns,
  port: number,
  name: string,
): Promise<Heard[]> {
  const heard: Heard[] = [];
  const { kernel } = network;
  const text = (address: { ip: string; port: number } | undefined) =>
    address === undefined ? 'none' : `${address.ip} ${address.port}`;
  const server: Server = createServer((socket) => {
    const fd = socketFd(socket) as number;
    heard.push({
      original: text(kernel.originalDestination(fd)),
      peer: kernel.peerAddress(fd).ip,
    });
    socket.on('error', () => {});
    socket.end(name);
  });
  server.listen({ fd: kernel.tcpListener({ netns, host: '::', port }) });
  await once(server, 'listening');
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return heard;
}

/** Connects from a namespace and gives the name of the listener that answered, or the code of the error. */
export async function call(
  network: TestNetwork,
  netns: Netns,
  ip: string,
  port: number,
  options: { mark?: number; bindIp?: string; timeoutMs?: number } = {},
): Promise<string> {
  const { timeoutMs = 3000, ...how } = options;
  const fd = network.kernel.tcpConnect({ netns, ip, port, ...how });
  const socket = new Socket({ fd, readable: true, writable: true });
  let text = '';
  socket.on('data', (chunk) => (text += String(chunk)));
  socket.setTimeout(timeoutMs, () =>
    socket.destroy(Object.assign(new Error('timeout'), { code: 'TIMEOUT' })),
  );
  try {
    await once(socket, 'end');
    return text;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  } finally {
    socket.destroy();
  }
}

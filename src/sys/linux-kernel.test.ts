// What only the real kernel shows: routes, redirection rules, marks, foreign source addresses, workers.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { checkCommand, runCommand } from './command.ts';
import type { Netns } from './kernel.ts';
import { libc } from './libc.ts';
import { linuxKernel } from './linux-kernel.ts';
import { createNetns, deleteNetns } from './netns-mount.ts';
import { interfaceNames, netnsOfProcess, sameNetns } from './netns.ts';
import { socketFd } from './socket-fd.ts';

const kernel = linuxKernel();
const skip = process.getuid?.() === 0 ? false : 'namespaces need root';

describe('linux kernel, two namespaces with a link', { skip }, () => {
  let directory: string;
  let pod: Netns;
  let other: Netns;
  const ip = (netns: Netns, ...args: string[]): Promise<string> => checkCommand(['ip', ...args], { netns });

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'linux-kernel-'));
    pod = createNetns(join(directory, 'pod'));
    other = createNetns(join(directory, 'other'));
    // No wait for duplicate address detection.
    for (const netns of [pod, other])
      await checkCommand(['sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0'], { netns });
    await ip(pod, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1');
    await ip(pod, 'link', 'set', 'eth1', 'netns', `/proc/${process.pid}/fd/${other.fd}`);
    for (const [netns, link, n] of [
      [pod, 'eth0', 1],
      [other, 'eth1', 2],
    ] as const) {
      await ip(netns, 'addr', 'add', `10.9.0.${n}/24`, 'dev', link);
      await ip(netns, 'addr', 'add', `fd09::${n}/64`, 'dev', link, 'nodad');
      await ip(netns, 'link', 'set', link, 'up');
    }
  });

  after(() => {
    for (const netns of [pod, other]) netns[Symbol.dispose]();
    for (const name of ['pod', 'other']) deleteNetns(join(directory, name));
    rmSync(directory, { recursive: true });
  });

  async function accept(o: {
    netns: Netns;
    host: string;
    port: number;
    transparent?: boolean;
  }): Promise<{ next: Promise<Socket>; port: number; [Symbol.asyncDispose](): Promise<void> }> {
    const fd = kernel.tcpListener(o);
    const { port } = kernel.localAddress(fd);
    const server = createServer();
    server.listen({ fd });
    await once(server, 'listening');
    const next = once(server, 'connection').then(([socket]) => socket as Socket);
    return {
      next,
      port,
      async [Symbol.asyncDispose]() {
        (await next).destroy();
        await server[Symbol.asyncDispose]();
      },
    };
  }

  for (const [v, source, to] of [
    ['IPv4', '10.77.0.5', '10.9.0.1'],
    ['IPv6', 'fd77::5', 'fd09::1'],
  ] as const) {
    test(`${v}: the server sees a source address that is not ours`, async () => {
      const family = v === 'IPv4' ? '-4' : '-6';
      const via = v === 'IPv4' ? '10.9.0.2' : 'fd09::2';
      await ip(pod, family, 'route', 'add', source, 'via', via);
      await ip(other, family, 'rule', 'add', 'iif', 'eth1', 'lookup', '100');
      const all = v === 'IPv4' ? '0.0.0.0/0' : '::/0';
      await ip(other, family, 'route', 'add', 'local', all, 'dev', 'lo', 'table', '100');
      await using server = await accept({ netns: pod, host: '::', port: 0 });
      const client = kernel.connect({ netns: other, ip: to, port: server.port, bindIp: source, mark: 1337 });
      await once(client, 'connect');
      const serverFd = socketFd(await server.next) as number;
      assert.equal(kernel.peerAddress(serverFd).ip, source);
      assert.equal(kernel.localAddress(socketFd(client) as number).ip, source);
      assert.equal(client.localAddress, source);
      client.destroy();
    });

    test(`${v}: a redirected connection knows its original destination, a marked one is let through`, async () => {
      const iptables = v === 'IPv4' ? 'iptables' : 'ip6tables';
      const target = v === 'IPv4' ? '10.9.0.2' : 'fd09::2';
      const rule = '-t nat -A OUTPUT -p tcp --dport 80 -m mark ! --mark 1337 -j REDIRECT --to-ports 15001';
      await checkCommand([iptables, '-w', ...rule.split(' ')], { netns: pod });
      await using capture = await accept({ netns: pod, host: '::', port: 15001 });
      await using direct = await accept({ netns: other, host: '::', port: 80 });
      const app = kernel.connect({ netns: pod, ip: target, port: 80 });
      const captured = socketFd(await capture.next) as number;
      assert.deepEqual(kernel.originalDestination(captured), { ip: target, port: 80 });
      assert.equal(kernel.localAddress(captured).port, 15001);
      const proxy = kernel.connect({ netns: pod, ip: target, port: 80, mark: 1337 });
      const arrived = socketFd(await direct.next) as number;
      assert.deepEqual(kernel.peerAddress(arrived).ip, v === 'IPv4' ? '10.9.0.1' : 'fd09::1');
      app.destroy();
      proxy.destroy();
    });
  }

  test('at once: an address of the namespace itself, from an address that is not ours', async () => {
    await using server = await accept({ netns: pod, host: '::', port: 0 });
    const to = { netns: pod, ip: '10.9.0.1', port: server.port, bindIp: '127.0.0.9', mark: 1337 };
    const client = kernel.connectAtOnce(to);
    assert.ok(client !== undefined && !client.connecting);
    const fd = socketFd(await server.next) as number;
    assert.equal(kernel.peerAddress(fd).ip, '127.0.0.9');
    client.destroy();
    assert.throws(() => kernel.connectAtOnce({ netns: pod, ip: '10.9.0.1', port: 9 }), {
      code: 'ECONNREFUSED',
      syscall: 'connect',
    });
    // Nobody has this address. The few dials that follow are not tried at once either.
    assert.equal(kernel.connectAtOnce({ netns: pod, ip: '10.9.0.77', port: 9 }), undefined);
    assert.equal(kernel.connectAtOnce(to), undefined);
  });

  test('options that were asked for are set', () => {
    const keepAlive = { timeSeconds: 11, intervalSeconds: 12, retries: 3 };
    const options = { netns: pod, mark: 1337, noDelay: true, keepAlive };
    const value = Int32Array.of(0);
    const option = (fd: number, level: number, name: number): number => {
      assert.equal(libc.getsockopt(fd, level, name, value, Int32Array.of(4)), 0);
      return value[0] as number;
    };
    const dial = kernel.tcpSocket({ ...options, family: 6, bindIp: 'fd77::9', userTimeoutMs: 1234 });
    const listen = kernel.tcpListener({
      ...options,
      host: '::',
      port: 0,
      reusePort: true,
      transparent: true,
    });
    for (const fd of [dial, listen]) {
      assert.equal(option(fd, 1, 36), 1337, 'SO_MARK');
      assert.equal(option(fd, 1, 9), 1, 'SO_KEEPALIVE');
      assert.equal(option(fd, 6, 1), 1, 'TCP_NODELAY');
      assert.deepEqual(
        [4, 5, 6].map((name) => option(fd, 6, name)),
        [11, 12, 3],
      );
      assert.equal(option(fd, 41, 75), 1, 'IPV6_TRANSPARENT');
      assert.equal(libc.fcntl(fd, 1, 0), 1, 'FD_CLOEXEC');
      assert.equal(libc.fcntl(fd, 3, 0) & 0x800, 0x800, 'O_NONBLOCK');
    }
    assert.equal(option(dial, 6, 18), 1234, 'TCP_USER_TIMEOUT');
    assert.equal(option(listen, 1, 15), 1, 'SO_REUSEPORT');
    assert.equal(option(listen, 41, 26), 0, 'IPV6_V6ONLY');
    for (const fd of [dial, listen]) kernel.close(fd);
  });

  test('a transparent listener takes connections to addresses that are not local', async () => {
    const source = '10.88.0.1';
    await ip(other, 'route', 'add', 'local', '10.88.0.0/24', 'dev', 'lo');
    await using server = await accept({ netns: other, host: source, port: 0, transparent: true });
    const client = kernel.connect({ netns: other, ip: source, port: server.port });
    await once(client, 'connect');
    client.destroy();
  });

  test('a namespace without IPv6 addresses still has a listener for IPv4', async () => {
    const bare = createNetns(join(directory, 'bare'));
    try {
      await checkCommand(['sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1'], { netns: bare });
      await using server = await accept({ netns: bare, host: '::', port: 0 });
      const client = kernel.connect({ netns: bare, ip: '127.0.0.1', port: server.port });
      await once(client, 'connect');
      client.destroy();
    } finally {
      bare[Symbol.dispose]();
      deleteNetns(join(directory, 'bare'));
    }
  });

  test('inNetns leaves this thread, and the threads of the pool, where they were', async () => {
    using own = netnsOfProcess(process.pid);
    assert.deepEqual(kernel.inNetns(pod, () => interfaceNames()).sort(), ['eth0', 'lo']);
    assert.deepEqual(interfaceNames(pod).sort(), ['eth0', 'lo']);
    using now = kernel.openNetns('/proc/thread-self/ns/net');
    assert.ok(sameNetns(own, now));
    await new Promise((resolve) => setImmediate(resolve));
    for (const task of readdirSync('/proc/self/task')) {
      using place = kernel.openNetns(`/proc/self/task/${task}/ns/net`);
      assert.ok(sameNetns(own, place), `thread ${task}`);
    }
  });

  test('commands run inside the namespace', async () => {
    const links = await checkCommand(['ip', '-o', 'link'], { netns: pod });
    assert.match(links, /eth0/);
    assert.deepEqual((await runCommand(['ip', 'link', 'show', 'eth0'], { netns: other })).code, 1);
  });

  test('works in a worker, which has a place of its own', async () => {
    const worker = new Worker(
      `const { workerData, parentPort } = require('node:worker_threads');
       import(workerData.url).then(({ linuxKernel }) => {
         const kernel = linuxKernel();
         const netns = kernel.openNetns(workerData.path);
         const fd = kernel.tcpListener({ netns, host: '::', port: 15006 });
         let error;
         try { kernel.tcpListener({ netns, host: '::', port: 15006 }); } catch (e) { error = e.message; }
         kernel.close(fd);
         netns[Symbol.dispose]();
         parentPort.postMessage(error);
       });`,
      { eval: true, workerData: { url: import.meta.resolve('./index.ts'), path: pod.label } },
    );
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    // Both may come in one turn: whoever begins to wait for the end after the message may have missed it.
    const [[message]] = (await Promise.all([once(worker, 'message'), once(worker, 'exit')])) as [
      [string],
      unknown,
    ];
    assert.match(message, /EADDRINUSE/);
    process.off('warning', onWarning);
    assert.deepEqual(warnings, []);
  });

  test('calls that fail leave no fd behind', () => {
    const count = (): number => readdirSync('/proc/self/fd').length;
    const taken = kernel.tcpListener({ netns: pod, host: '127.0.0.1', port: 0 });
    const { port } = kernel.localAddress(taken);
    const before = count();
    for (let i = 0; i < 10; i++) {
      assert.throws(() => kernel.tcpListener({ netns: pod, host: '127.0.0.1', port }), /EADDRINUSE/);
      assert.throws(() => kernel.tcpSocket({ netns: pod, family: 4, bindIp: 'fd00::1' }), /bind/);
      assert.throws(() => kernel.tcpConnect({ netns: pod, ip: '203.0.113.1', port: 1 }), {
        message: `connect 203.0.113.1:1 in netns ${pod.label}: ENETUNREACH (network is unreachable)`,
      });
      assert.throws(() => kernel.openNetns('/proc/self/ns/mnt'), /is not a network namespace/);
    }
    assert.equal(count(), before);
    kernel.close(taken);
  });

  test('a namespace file is made with its directories, is not made twice, and goes without a trace', () => {
    const path = join(directory, 'deep', 'er', 'ns');
    using netns = createNetns(path);
    assert.equal(statSync(path, { bigint: true }).ino, netns.inode);
    assert.deepEqual(interfaceNames(netns), ['lo']);
    assert.throws(() => createNetns(path), /holds a network namespace already/);
    deleteNetns(path);
    deleteNetns(path);
    assert.deepEqual(readdirSync(join(directory, 'deep', 'er')), []);
    // A leftover of a reboot: the file is there, the mount is not.
    createNetns(path)[Symbol.dispose]();
    libc.umount2(path, 2);
    createNetns(path)[Symbol.dispose]();
    deleteNetns(path);
  });
});

// The rules in real network namespaces: real connections are caught, drift is repaired, nothing is left behind.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { captureDefaults, guardrailInput } from '#/capture/index.ts';
import { silentLogger, type Ip } from '#/kit/index.ts';
import { checkCommand, fakeCommands, runCommand, type Netns } from '#/sys/index.ts';
import { findIptables, type IptablesBinaries } from './iptables-binaries.ts';
import { HostProbes } from './host-probes.ts';
import { PodRules, RulesError } from './pod-rules.ts';
import { call, listener, testNetwork, type TestNetwork } from './test-network.ts';

const backends = [
  { name: 'iptables-nft', kind: 'nft', nftables: false },
  { name: 'iptables-legacy', kind: 'legacy', nftables: false },
  { name: 'nftables', kind: 'nft', nftables: true },
] as const;

async function rulesFor(network: TestNetwork, backend: (typeof backends)[number]) {
  const binaries = await findIptables(runCommand, backend.kind);
  const deps = {
    run: runCommand,
    kernel: network.kernel,
    binaries,
    nftables: backend.nftables,
    log: silentLogger,
  };
  return { binaries, rules: new PodRules({ ...deps, lockFile: `${network.dir}/xtables.lock` }), deps };
}

/** All that a namespace holds of rules and policy routing. */
async function state(netns: Netns, binaries: IptablesBinaries): Promise<string> {
  const parts: string[] = [];
  for (const argv of [
    [binaries.save(4)],
    [binaries.save(6)],
    ['nft', 'list', 'tables', 'inet'],
    ['ip', '-4', 'rule'],
    ['ip', '-6', 'rule'],
    ['ip', '-4', 'route', 'show', 'table', 'all'],
    ['ip', '-6', 'route', 'show', 'table', 'all'],
  ])
    parts.push((await runCommand(argv, { netns })).stdout);
  // Link-local addresses come and go as the kernel likes.
  return parts.join('\n').replaceAll(/^.*fe80:.*\n/gm, '');
}

for (const backend of backends) {
  test(`${backend.name}: connections of a pod are caught, and nothing is left`, async (t) => {
    const network = await testNetwork(t);
    const [pod, peer] = [await network.pod(1), await network.pod(2)];
    const { rules, binaries } = await rulesFor(network, backend);
    const before = await state(pod.netns, binaries);
    assert.equal(await rules.apply(pod.netns, captureDefaults, 'shop/web'), 'applied');
    if (!backend.nftables)
      assert.equal(await rules.apply(pod.netns, captureDefaults, 'shop/web'), 'unchanged');

    const outbound = await listener(t, network, pod.netns, 15001, 'outbound');
    const plaintext = await listener(t, network, pod.netns, 15006, 'plaintext');
    const tunnel = await listener(t, network, pod.netns, 15008, 'tunnel');
    const app = await listener(t, network, pod.netns, 8080, 'app');
    const away = await listener(t, network, peer.netns, 80, 'away');

    for (const [own, other] of [
      [pod.ipv4, peer.ipv4],
      [pod.ipv6, peer.ipv6],
    ] as const) {
      assert.equal(await call(network, pod.netns, other, 80), 'outbound');
      assert.deepEqual(outbound.pop(), { original: `${other} 80`, peer: own });
      assert.equal(await call(network, pod.netns, other, 80, { mark: 0x539 }), 'away', 'ztunnel itself');
      assert.deepEqual(away.pop()?.peer, own);
      assert.equal(await call(network, pod.netns, own, 8080), 'app', 'a call to itself');
      assert.equal(app.pop()?.peer, own);
      assert.equal(await call(network, peer.netns, own, 8080), 'plaintext');
      assert.deepEqual(plaintext.pop(), { original: `${own} 8080`, peer: other });
      assert.equal(await call(network, peer.netns, own, 15008), 'tunnel');
      assert.equal(tunnel.pop()?.peer, other);
      // As ztunnel does for the application: with the client's address, replies come back by the tunnel mark.
      assert.equal(await call(network, pod.netns, own, 8080, { mark: 0x539, bindIp: other }), 'app');
      assert.equal(app.pop()?.peer, other);
    }
    assert.equal(await call(network, pod.netns, '127.0.0.1', 8080), 'app');
    assert.equal(await call(network, pod.netns, '::1', 8080), 'app');

    await rules.remove(pod.netns);
    assert.equal(await call(network, peer.netns, pod.ipv4, 8080), 'app');
    const after = await state(pod.netns, binaries);
    assert.doesNotMatch(after, /ISTIO|istio-ambient|0x111|table 100/);
    if (backend.nftables) assert.equal(after, before);
    await rules.remove(pod.netns);
  });
}

test('DNS is caught, by UDP and TCP, where it is asked for', async (t) => {
  const network = await testNetwork(t);
  const pod = await network.pod(1);
  const { rules } = await rulesFor(network, backends[0]);
  await rules.apply(pod.netns, captureDefaults, 'p');
  const heardTcp = await listener(t, network, pod.netns, 15053, 'dns');
  assert.equal(await call(network, pod.netns, '10.96.0.10', 53), 'dns');
  assert.equal(heardTcp[0]?.original, '10.96.0.10 53');
  const open = (port: number) => {
    const socket = createSocket('udp4');
    // With an fd, it listens at once, and says so at once.
    socket.bind({ fd: network.kernel.udpSocket({ netns: pod.netns, host: '0.0.0.0', port }) } as never);
    t.after(() => socket.close());
    return socket;
  };
  const [proxy, client] = [open(15053), open(0)];
  client.send('query', 53, '10.96.0.10');
  const [message] = (await once(proxy, 'message')) as [Buffer];
  assert.equal(message.toString(), 'query');

  assert.equal(await rules.apply(pod.netns, { ...captureDefaults, dnsCapture: false }, 'p'), 'repaired');
  await listener(t, network, pod.netns, 15001, 'outbound');
  assert.equal(await call(network, pod.netns, '10.96.0.10', 53), 'outbound');
});

test('an ingress pod keeps its inbound traffic; what a virtual machine sends is outbound', async (t) => {
  const network = await testNetwork(t);
  const [pod, peer] = [await network.pod(1), await network.pod(2)];
  const { rules } = await rulesFor(network, backends[0]);
  await listener(t, network, pod.netns, 15001, 'outbound');
  await listener(t, network, pod.netns, 15006, 'plaintext');
  await listener(t, network, pod.netns, 8080, 'app');
  await rules.apply(pod.netns, { ...captureDefaults, bypassInbound: true }, 'p');
  assert.equal(await call(network, peer.netns, pod.ipv4, 8080), 'app');
  assert.equal(await call(network, pod.netns, peer.ipv4, 80), 'outbound');
  assert.equal(
    await call(network, pod.netns, pod.ipv4, 8080, { mark: 0x539, bindIp: peer.ipv4 }),
    'app',
    'inbound through the tunnel',
  );
  await rules.apply(pod.netns, { ...captureDefaults, rerouteInterfaces: ['eth0'] }, 'p');
  assert.equal(await call(network, peer.netns, pod.ipv4, 8080), 'outbound');
});

test('drift is repaired behind a guardrail, also one that a crash left', async (t) => {
  const network = await testNetwork(t);
  const [pod, peer] = [await network.pod(1), await network.pod(2)];
  const { rules, binaries, deps } = await rulesFor(network, backends[0]);
  await rules.apply(pod.netns, captureDefaults, 'p');
  await listener(t, network, pod.netns, 15006, 'plaintext');
  await listener(t, network, pod.netns, 8080, 'app');
  const good = await state(pod.netns, binaries);
  const damage = [
    ['iptables', '-t', 'nat', '-I', 'ISTIO_PRERT', '-p', 'tcp', '-j', 'ACCEPT'],
    ['iptables', '-t', 'nat', '-F', 'ISTIO_OUTPUT'],
    ['ip6tables', '-t', 'mangle', '-D', 'PREROUTING', '-j', 'ISTIO_PRERT'],
    ['iptables', '-t', 'nat', '-N', 'ISTIO_OLD'],
    ['ip', 'rule', 'del', 'pref', '32764'],
  ];
  for (const argv of damage) {
    await checkCommand(argv, { netns: pod.netns });
    await rules.apply(pod.netns, captureDefaults, 'p');
    assert.equal(await state(pod.netns, binaries).then(plain), plain(good), argv.join(' '));
  }
  await checkCommand(['iptables-restore', '--noflush'], { netns: pod.netns, input: guardrailInput() });
  assert.equal(await call(network, peer.netns, pod.ipv4, 8080, { timeoutMs: 300 }), 'TIMEOUT');
  assert.equal(await rules.apply(pod.netns, captureDefaults, 'p'), 'repaired');
  assert.equal(await call(network, peer.netns, pod.ipv4, 8080), 'plaintext');

  // A replacement that fails leaves the pod shut, and says so.
  await checkCommand(damage[0] as string[], { netns: pod.netns });
  const failing = new PodRules({
    ...deps,
    run: async (argv, options) =>
      options?.input?.includes('-X ISTIO_PRERT') === true
        ? { code: 4, stdout: '', stderr: 'resource temporarily unavailable' }
        : runCommand(argv, options),
  });
  await assert.rejects(failing.apply(pod.netns, captureDefaults, 'shop/web'), (error) => {
    assert.ok(error instanceof RulesError);
    assert.match(error.message, /traffic of shop\/web is blocked until .* exit code 4: resource/);
    return true;
  });
  assert.equal(await call(network, peer.netns, pod.ipv4, 8080, { timeoutMs: 300 }), 'TIMEOUT');
  assert.equal(await rules.apply(pod.netns, captureDefaults, 'p'), 'repaired');
  assert.equal(await call(network, peer.netns, pod.ipv4, 8080), 'plaintext');
});

/** Without counters, dates and empty tables, which differ after a change and back. */
function plain(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replaceAll(/\[\d+:\d+\]/g, '')
    .replaceAll(/\*filter\n(?::(?:INPUT|FORWARD|OUTPUT) ACCEPT \n)*COMMIT\n/g, '')
    .replaceAll(/^:.*\n/gm, '');
}

test('without IPv6 on lo, or with IPv6 not wanted, a pod is set up all the same', async (t) => {
  const network = await testNetwork(t);
  const pod = await network.pod(1);
  const { rules, binaries } = await rulesFor(network, backends[0]);
  await checkCommand(['sysctl', '-qw', 'net.ipv6.conf.lo.disable_ipv6=1'], { netns: pod.netns });
  await rules.apply(pod.netns, captureDefaults, 'p');
  const text = await state(pod.netns, binaries);
  assert.match(text, /REDIRECT --to-ports 15001/);
  assert.equal(await rules.apply(pod.netns, { ...captureDefaults, ipv6: false }, 'p'), 'repaired');
  assert.doesNotMatch((await runCommand([binaries.save(6)], { netns: pod.netns })).stdout, /ISTIO/);
});

test('a command that fails is named with its namespace and reason', async (t) => {
  const network = await testNetwork(t);
  const pod = await network.pod(1);
  const fake = fakeCommands((argv) =>
    argv[0] === 'iptables-restore' ? { code: 2, stderr: 'line 3 failed\n' } : {},
  );
  const rules = new PodRules({
    run: fake.run,
    kernel: network.kernel,
    binaries: await findIptables(runCommand, 'nft'),
    nftables: false,
    log: silentLogger,
  });
  await assert.rejects(
    rules.apply(pod.netns, captureDefaults, 'p'),
    /iptables-restore --noflush -v --wait=30 in netns .*pod1 failed with exit code 2: line 3 failed$/,
  );
});

for (const backend of backends) {
  test(`${backend.name}: the host's probes pass, others do not`, async (t) => {
    const network = await testNetwork(t);
    const [pod, peer] = [await network.pod(1), await network.pod(2)];
    const { rules, binaries } = await rulesFor(network, backend);
    const before = await state(network.host, binaries);
    const probes = new HostProbes({
      run: (argv, options) => runCommand(argv, { ...options, netns: network.host }),
      binaries,
      nftables: backend.nftables,
      settings: captureDefaults,
      kubeletUid: 0,
      log: silentLogger,
    });
    await probes.install();
    await probes.install();
    await rules.apply(pod.netns, captureDefaults, 'p');
    await listener(t, network, pod.netns, 15006, 'plaintext');
    const app = await listener(t, network, pod.netns, 8080, 'app');
    assert.equal(await call(network, network.host, pod.ipv4, 8080), 'plaintext', 'not exempted yet');
    await probes.add('uid-1', [pod.ipv4, pod.ipv6]);
    for (const [ip, probe] of [
      [pod.ipv4, captureDefaults.probeAddressV4],
      [pod.ipv6, captureDefaults.probeAddressV6],
    ] as [string, Ip][]) {
      assert.equal(await call(network, network.host, ip, 8080), 'app');
      assert.equal(app.pop()?.peer, probe);
      assert.equal(await call(network, peer.netns, ip, 8080), 'plaintext', 'another pod is no probe');
    }
    await probes.remove('uid-2', [pod.ipv4]);
    assert.equal(await call(network, network.host, pod.ipv4, 8080), 'app', "another pod's removal");
    await probes.add('uid-2', [pod.ipv4]);
    await probes.remove('uid-1', [pod.ipv4, pod.ipv6]);
    assert.equal(await call(network, network.host, pod.ipv4, 8080), 'app', 'the address moved to uid-2');
    await probes.sync([{ ip: pod.ipv6, uid: 'uid-3' }], false);
    assert.equal(await call(network, network.host, pod.ipv4, 8080), 'app', 'not pruned');
    await probes.sync([{ ip: pod.ipv6, uid: 'uid-3' }], true);
    assert.equal(await call(network, network.host, pod.ipv4, 8080), 'plaintext');
    assert.equal(await call(network, network.host, pod.ipv6, 8080), 'app');

    if (!backend.nftables) {
      // Another program has put itself in front, or has flushed the table.
      await checkCommand([binaries.restore(4), '--noflush'], {
        netns: network.host,
        input: '*nat\n-I POSTROUTING 1 -j RETURN\nCOMMIT\n',
      });
      await probes.install();
      const saved = await checkCommand([binaries.save(4)], { netns: network.host });
      assert.match(saved, /-A POSTROUTING -j ISTIO_POSTRT\n-A POSTROUTING -j RETURN/);
      assert.equal(saved.match(/-j ISTIO_POSTRT/g)?.length, 1);
    }
    await probes.uninstall();
    const after = await state(network.host, binaries);
    assert.doesNotMatch(after, /ISTIO|istio/);
    if (backend.nftables) assert.equal(after, before);
    const sets = await runCommand(['ipset', 'list', '-n'], { netns: network.host });
    assert.equal(sets.stdout, '');
  });
}

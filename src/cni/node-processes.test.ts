import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { sameNetns, spawnInNetns } from '#/sys/index.ts';
import {
  addressesIn,
  holdsAddress,
  kubeletUid,
  localAddresses4,
  localAddresses6,
  openPodNetns,
  podUidOfCgroup,
  scanPods,
  startTime,
} from './node-processes.ts';
import { testNetwork } from './test-network.ts';

test('the UID of a pod is read from every form of its cgroup', () => {
  const uid = '3ab72f78-8e2b-4e49-bc47-45fa4f90dbf7';
  const under = uid.replaceAll('-', '_');
  const cases: [string, string | undefined][] = [
    [`0::/kubepods/besteffort/pod${uid}/4fc1\n`, uid],
    [`0::/kubepods/besteffort/pod${uid}\n`, uid],
    [
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${under}.slice/cri-containerd-4fc1.scope\n`,
      uid,
    ],
    [
      `0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${under}.slice:cri-containerd:4fc1\n`,
      uid,
    ],
    [`11:memory:/kubepods/pod${uid}/x\n10:cpu:/kubepods/pod${uid}/x\n`, uid],
    [`0::/lab/ambient/node-1/kubepods/besteffort/pod${under}/app\n`, uid],
    [`0::/kubepods/pod${uid.replaceAll('-', '')}/x\n`, uid.replaceAll('-', '')],
    ['0::/system.slice/podman.service\n', undefined],
    [`0::/machine/tripod${uid}\n`, undefined],
    [`0::/kubepods/pod${uid}0/x\n`, undefined],
    ['', undefined],
  ];
  for (const [text, expected] of cases) assert.equal(podUidOfCgroup(text), expected, text);
});

test('the parts of /proc are read', () => {
  assert.equal(startTime(`12 (a) b (c) S ${Array.from({ length: 18 }, (_, i) => i).join(' ')} 777 5\n`), 777);
  assert.ok(startTime(readFileSync('/proc/self/stat', 'utf8')) > 0);
  assert.deepEqual(
    localAddresses4(
      'Local:\n     |-- 10.0.0.0\n        /24 link UNICAST\n        |-- 10.0.0.5\n           /32 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n        |-- 10.0.0.5\n           /32 host LOCAL\n',
    ),
    ['10.0.0.5'],
  );
  assert.deepEqual(
    localAddresses6(
      '00000000000000000000000000000001 01 80 10 80       lo\nfd880001000000000000000000000002 02 40 00 80     eth0\n',
    ),
    ['fd88:1::2'],
  );
});

test("the kubelet's user is found by the name of its program", (t) => {
  const proc = mkdtempSync(`${tmpdir()}/aura-proc-`);
  t.after(() => rmSync(proc, { recursive: true }));
  const process = (pid: number, comm: string, uid: number) => {
    mkdirSync(`${proc}/${pid}`);
    writeFileSync(`${proc}/${pid}/comm`, `${comm}\n`);
    writeFileSync(`${proc}/${pid}/status`, `Name:\t${comm}\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n`);
  };
  mkdirSync(`${proc}/self`);
  process(10, 'sshd', 5);
  assert.equal(kubeletUid(proc), 0);
  process(11, 'kubelite', 1001);
  assert.equal(kubeletUid(proc), 1001);
});

test('a pod is found by its processes in the real /proc', async (t) => {
  const root = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) =>
    existsSync(`${path}/cgroup.procs`),
  );
  assert.ok(root !== undefined, 'no cgroup2 is mounted');
  const network = await testNetwork(t);
  const [mine, other] = [await network.pod(1), await network.pod(2)];
  const uid = randomUUID();
  const group = `${root}/aura-test-${uid}`;
  const podGroup = `${group}/kubepods/besteffort/pod${uid.replaceAll('-', '_')}`;
  mkdirSync(podGroup, { recursive: true });
  const start = async (netns: typeof mine.netns | undefined) => {
    const child = spawnInNetns(netns, ['sleep', '60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    writeFileSync(`${podGroup}/cgroup.procs`, String(child.pid));
    t.after(async () => {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    });
  };
  // The oldest is in the host's namespace, the next in that of another pod.
  await start(undefined);
  await start(other.netns);
  await start(mine.netns);
  t.after(() => {
    for (const path of [podGroup, `${group}/kubepods/besteffort`, `${group}/kubepods`, group])
      rmdirSync(path);
  });
  const processes = scanPods('/proc');
  assert.equal(processes.get(uid)?.length, 2);
  const { kernel } = network;
  const found = openPodNetns(kernel, '/proc', processes, uid.toUpperCase(), [mine.ipv4]);
  assert.ok('inode' in found);
  t.after(() => found[Symbol.dispose]());
  assert.ok(sameNetns(found, mine.netns));
  const byV6 = openPodNetns(kernel, '/proc', processes, uid, ['10.99.0.1', mine.ipv6]);
  assert.ok('inode' in byV6 && sameNetns(byV6, mine.netns));
  byV6[Symbol.dispose]();
  const reasons: [string, readonly string[], RegExp][] = [
    [uid, ['10.99.0.1'], /none of its network namespaces has one of its addresses \(10\.99\.0\.1\)/],
    [uid, [], /no address yet/],
    [randomUUID(), [mine.ipv4], /no process of it runs/],
  ];
  for (const [id, ips, reason] of reasons) {
    const result = openPodNetns(kernel, '/proc', processes, id, ips);
    assert.match('reason' in result ? result.reason : '', reason);
  }
  assert.ok(addressesIn(kernel, mine.netns).includes(mine.ipv6));
  assert.ok(!holdsAddress(kernel, mine.netns, ['127.0.0.1', '::1', other.ipv4]));
});

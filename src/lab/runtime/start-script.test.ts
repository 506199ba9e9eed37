import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { renderStartScript, startArgv, type StartPlan } from './start-script.ts';

const plan: StartPlan = {
  title: 'ns/pod/c',
  dir: '/lab/pods/1/containers/c/0',
  cgroup: '/sys/fs/cgroup/aura-1/n/pod1/c',
  netns: '/lab/run/ns/pod-1',
  hostname: 'pod',
  rootDir: '/lab/run/pods/1/root/c',
  argv: ['/bin/echo', "it's $HOME"],
  env: { GREETING: 'a "b" `c` $d' },
  workingDir: '/tmp',
  mounts: [
    { source: '/s/token', target: '/var/run/secrets/x', kind: 'folder', readOnly: true },
    { source: '/s/resolv', target: '/etc/resolv.conf', kind: 'file', readOnly: false },
    { source: '/s/deep', target: '/etc/app/conf.d', kind: 'folder', readOnly: false },
  ],
};

test('the script is valid shell, and passes words and values as they are', () => {
  const script = renderStartScript(plan);
  const checked = spawnSync('/bin/sh', ['-n'], { input: script });
  assert.equal(checked.stderr.toString(), '');
  assert.ok(script.includes(`'it'\\''s $HOME'`));
  assert.ok(script.includes(`'GREETING=a "b" \`c\` $d'`));
});

test('mount points are made before anything is mounted, the deeper after the higher', () => {
  const lines = renderStartScript(plan).split('\n');
  const ensures = lines.flatMap((line, i) => (line.startsWith('ensure ') ? [i] : []));
  const binds = lines.flatMap((line, i) => (line.startsWith('step mount --bind') ? [i] : []));
  assert.ok(Math.max(...ensures) < Math.min(...binds));
  assert.match(lines[binds[0] as number] ?? '', /resolv/);
});

test('/var/run is /run, and read-only is a second mount', () => {
  const script = renderStartScript(plan);
  assert.match(script, /ensure d \/run\/secrets\/x/);
  assert.match(script, /remount,bind,ro "\$root"\/run\/secrets\/x/);
  assert.doesNotMatch(script, /ensure d \/var\/run/);
});

test('the process is in its cgroup before it is in its namespaces', () => {
  const command = startArgv(plan, '/lab/start.sh').at(-1) ?? '';
  assert.match(command, /^echo \$\$ > \S+cgroup\.procs && exec nsenter --net=\S+ -- unshare --mount/);
});

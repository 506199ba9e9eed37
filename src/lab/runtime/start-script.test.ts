import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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

test('a volume on a folder that the sources of others lie in hides none of them', (t) => {
  const dir = mkdtempSync('/tmp/aura-start-');
  t.after(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, 'empty'));
  mkdirSync(join(dir, 'root'));
  writeFileSync(join(dir, 'hostname'), 'from-the-pod');
  const script = renderStartScript({
    ...plan,
    dir,
    rootDir: join(dir, 'root'),
    argv: ['/bin/sh', '-c', 'cat /etc/hostname; ls -A /tmp; ls -A /run; echo kept > /tmp/made'],
    mounts: [
      { source: join(dir, 'hostname'), target: '/etc/hostname', kind: 'file', readOnly: true },
      { source: join(dir, 'empty'), target: '/tmp', kind: 'folder', readOnly: false },
      { source: join(dir, 'hostname'), target: '/tmp/deep/name', kind: 'file', readOnly: false },
    ],
  });
  writeFileSync(join(dir, 'start.sh'), script);
  spawnSync('unshare', ['--mount', '--uts', '--propagation', 'slave', '/bin/sh', join(dir, 'start.sh')]);
  const said = (name: string): string =>
    existsSync(join(dir, name)) ? readFileSync(join(dir, name), 'utf8') : '';
  assert.equal(said('error'), '');
  assert.equal(said('log'), 'from-the-poddeep\nmount\n');
  assert.equal(said('empty/made'), 'kept\n');
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

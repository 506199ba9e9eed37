import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { test, type TestContext } from 'node:test';
import { createLogger, ManualClock } from '#/kit/index.ts';
import { parseCniAgentConfig } from './config.ts';
import { Installer } from './installer.ts';

function fixture(t: TestContext, env: Record<string, string> = {}) {
  const dir = mkdtempSync(`${tmpdir()}/aura-install-`);
  t.after(() => rmSync(dir, { recursive: true }));
  mkdirSync(`${dir}/net.d`);
  mkdirSync(`${dir}/bin`);
  const clock = new ManualClock(1_000_000);
  const log: string[] = [];
  const token = { value: 'first' };
  const config = parseCniAgentConfig({
    NODE_NAME: 'n1',
    MOUNTED_CNI_NET_DIR: `${dir}/net.d`,
    CNI_BIN_TARGET_DIR: `${dir}/bin`,
    CNI_AGENT_RUN_DIR: `${dir}/run`,
    ...env,
  });
  const installer = new Installer({
    config,
    cluster: { server: 'https://10.96.0.1:443', namespace: 'x', ca: 'PEM', token: () => token.value },
    program: "/opt/it's/main.ts",
    node: '/opt/node',
    clock,
    log: createLogger({ level: 'info', format: 'plain', write: (line) => log.push(line) }, 'x'),
  });
  t.after(() => installer.stop());
  const until = async (check: () => boolean) => {
    const deadline = Date.now() + 5000;
    while (!check()) {
      assert.ok(Date.now() < deadline, log.join(''));
      clock.advance(5000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const types = (name: string) =>
    (JSON.parse(readFileSync(`${dir}/net.d/${name}`, 'utf8')) as { plugins: { type: string }[] }).plugins.map(
      ({ type }) => type,
    );
  return { dir, clock, log, token, installer, until, types };
}

const bridge = '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"}]}';

test('waits for a configuration, extends it, and puts back what others take out', async (t) => {
  const { dir, log, token, installer, until, types } = fixture(t);
  await installer.start();
  assert.equal(installer.ready, false);
  assert.equal(log.filter((line) => line.includes('no CNI configuration in')).length, 1);
  writeFileSync(`${dir}/net.d/10-bridge.conflist`, bridge, { mode: 0o640 });
  await until(() => installer.ready);
  assert.deepEqual(types('10-bridge.conflist'), ['bridge', 'aura-cni']);
  assert.equal(statSync(`${dir}/net.d/10-bridge.conflist`).mode & 0o777, 0o640);
  assert.deepEqual(readdirSync(`${dir}/net.d`), ['10-bridge.conflist']);
  const launcher = readFileSync(`${dir}/bin/aura-cni`, 'utf8');
  assert.match(launcher, /exec '\/opt\/node' '\/opt\/it'\\''s\/main\.ts'\n$/);
  assert.equal(statSync(`${dir}/bin/aura-cni`).mode & 0o777, 0o755);
  const kubeconfig = () => JSON.parse(readFileSync(`${dir}/run/istio-cni-kubeconfig`, 'utf8'));
  assert.equal(kubeconfig().users[0].user.token, 'first');
  assert.equal(kubeconfig().clusters[0].cluster.server, 'https://10.96.0.1:443');

  for (let i = 0; i < 5; i++) {
    writeFileSync(`${dir}/net.d/10-bridge.conflist`, bridge);
    await until(() => types('10-bridge.conflist').includes('aura-cni'));
  }
  assert.ok(log.some((line) => line.includes('another program writes it too')));
  rmSync(`${dir}/bin/aura-cni`);
  token.value = 'second';
  await until(() => existsSync(`${dir}/bin/aura-cni`) && kubeconfig().users[0].user.token === 'second');

  await installer.uninstall();
  assert.deepEqual(types('10-bridge.conflist'), ['bridge']);
  assert.deepEqual(readdirSync(`${dir}/bin`), []);
  assert.equal(existsSync(`${dir}/run/istio-cni-kubeconfig`), false);
  assert.equal(installer.ready, false);
});

test('a .conf is replaced by a .conflist', async (t) => {
  const { dir, installer, types } = fixture(t);
  writeFileSync(`${dir}/net.d/10-a.conf`, '{"cniVersion":"0.3.1","name":"a","type":"calico"}');
  await installer.start();
  assert.deepEqual(readdirSync(`${dir}/net.d`), ['10-a.conflist']);
  assert.deepEqual(types('10-a.conflist'), ['calico', 'aura-cni']);
  assert.equal(statSync(`${dir}/net.d/10-a.conflist`).mode & 0o777, 0o600);
});

test('a configuration of our own sorts first, and leaves that of others alone', async (t) => {
  const { dir, installer, until, types } = fixture(t, {
    ISTIO_OWNED_CNI_CONFIG: 'true',
    CNI_PLUGIN_TYPE: 'istio-cni',
  });
  writeFileSync(`${dir}/net.d/10-bridge.conflist`, bridge);
  await installer.start();
  assert.deepEqual(types('02-istio-cni.conflist'), ['bridge', 'istio-cni']);
  assert.equal(readFileSync(`${dir}/net.d/10-bridge.conflist`, 'utf8'), bridge);
  writeFileSync(`${dir}/net.d/10-bridge.conflist`, bridge.replace('bridge', 'ptp'));
  await until(() => types('02-istio-cni.conflist')[0] === 'ptp');
  await installer.uninstall();
  assert.deepEqual(readdirSync(`${dir}/net.d`), ['10-bridge.conflist']);
});

test('a chosen file, a standalone one, and what cannot work', async (t) => {
  const chosen = fixture(t, { CNI_CONF_NAME: '20-b.conflist' });
  writeFileSync(`${chosen.dir}/net.d/10-a.conflist`, bridge);
  await chosen.installer.start();
  assert.equal(chosen.installer.ready, false);
  assert.ok(chosen.log.some((line) => /no valid CNI configuration .*20-b\.conflist yet/.test(line)));
  writeFileSync(`${chosen.dir}/net.d/20-b.conflist`, bridge);
  await chosen.until(() => chosen.installer.ready);
  assert.deepEqual(chosen.types('10-a.conflist'), ['bridge']);

  const alone = fixture(t, { CHAINED_CNI_PLUGIN: 'false' });
  await alone.installer.start();
  assert.equal(JSON.parse(readFileSync(`${alone.dir}/net.d/YYY-istio-cni.conf`, 'utf8')).type, 'aura-cni');
  await alone.installer.uninstall();
  assert.deepEqual(readdirSync(`${alone.dir}/net.d`), []);

  const late = fixture(t, {
    ISTIO_OWNED_CNI_CONFIG: 'true',
    ISTIO_OWNED_CNI_CONFIG_FILENAME: '50-x.conflist',
  });
  writeFileSync(`${late.dir}/net.d/10-bridge.conflist`, bridge);
  await late.installer.start();
  assert.equal(late.installer.ready, false);
  assert.ok(late.log.some((line) => /50-x\.conflist must sort before 10-bridge\.conflist/.test(line)));
});

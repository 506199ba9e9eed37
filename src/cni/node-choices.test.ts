// What the agent decides from what it finds on a node: the kind of iptables, nftables or not, upgrade or removal.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#/kit/index.ts';
import { CommandError, fakeCommands } from '#/sys/index.ts';
import { useNftables } from './host-setup.ts';
import { findIptables } from './iptables-binaries.ts';
import { placementMatches } from './shutdown.ts';

const nft = 'iptables v1.8.9 (nf_tables)';
const legacy = 'iptables v1.8.9 (legacy)';

test('the kind of iptables that is in use on the node', async () => {
  const rule = 'filter FORWARD';
  const hint = 'mangle KUBE-IPTABLES-HINT';
  const canary = 'mangle KUBE-KUBELET-CANARY';
  /** By command: the chains that hold something. A command that is not named is not installed. */
  type Found = Record<string, string[]>;
  const cases: [string, string, Found, 'nft' | 'legacy' | undefined, string][] = [
    ['nothing is there', nft, { iptables: [], 'iptables-legacy': [] }, undefined, 'iptables'],
    ['only one kind is installed', legacy, { iptables: [] }, undefined, 'iptables'],
    ['the other holds rules', nft, { iptables: [], 'iptables-legacy': [rule] }, undefined, 'iptables-legacy'],
    ['both hold rules', nft, { iptables: [rule], 'iptables-legacy': [rule] }, undefined, 'iptables'],
    [
      'the kubelet used the other',
      legacy,
      { iptables: [rule], 'iptables-nft': [hint] },
      undefined,
      'iptables-nft',
    ],
    ['the kubelet used this', legacy, { iptables: [canary], 'iptables-nft': [rule] }, undefined, 'iptables'],
    ['forced, and it is the usual one', nft, {}, 'nft', 'iptables'],
    ['forced to the other', nft, { 'iptables-legacy': [] }, 'legacy', 'iptables-legacy'],
  ];
  for (const [name, version, found, forced, expected] of cases) {
    const { run, calls } = fakeCommands((argv) => {
      const [command = '', ...args] = argv;
      if (command === 'cat') return { stdout: 'mangle\nfilter\n' };
      if (args[0] === '--version' && command === 'iptables') return { stdout: version };
      const chains = found[command];
      if (chains === undefined) throw new CommandError(argv, 'not found');
      if (args[0] === '--version') return {};
      const [, , , table, , chain] = args;
      if (!chains.includes(`${table} ${chain}`))
        return chain?.startsWith('KUBE') === true ? { code: 1 } : { stdout: `-P ${chain} ACCEPT\n` };
      return { stdout: `-N ${chain}\n-A ${chain} -j ACCEPT\n` };
    });
    assert.equal((await findIptables(run, forced)).command(4), expected, name);
    const asked = calls.filter(({ argv }) => argv[0] === 'iptables-legacy' && argv.includes('nat'));
    assert.deepEqual(asked, [], 'a table that is not there');
  }
  const { run } = fakeCommands((argv) => (argv[0] === 'iptables' ? { stdout: nft } : { code: 1 }));
  await assert.rejects(findIptables(run, 'legacy'), /FORCE_IPTABLES_BINARY=legacy: .* cannot be run/);
  const found = await findIptables(run, 'nft');
  assert.deepEqual([found.restore(6), found.save(4)], ['ip6tables-restore', 'iptables-save']);
});

test('nftables only where it can work, and where no iptables rules of ours are', async () => {
  const cases: [string, boolean, Record<string, { code?: number; stdout?: string }>, boolean][] = [
    ['not asked for', false, {}, false],
    ['asked for', true, {}, true],
    ['sets of iptables are there', true, { ipset: { stdout: 'x\nistio-inpod-probes-v4\n' } }, false],
    ['sets of others are there', true, { ipset: { stdout: 'cali40\n' } }, true],
    ['no ipset', true, { ipset: { code: 1 } }, true],
    ['nft without JSON', true, { nft: { code: 1 } }, false],
  ];
  for (const [name, wanted, answers, expected] of cases) {
    const { run } = fakeCommands((argv) => answers[argv[0] as string] ?? {});
    assert.equal(await useNftables(wanted, run, silentLogger), expected, name);
  }
  const missing = fakeCommands((argv) => {
    throw new CommandError(argv, 'not found');
  });
  assert.equal(await useNftables(true, missing.run, silentLogger), false);
});

test('where a DaemonSet places its pods', () => {
  const node = { name: 'n1', labels: { zone: 'a', size: '4' } };
  const required = (...nodeSelectorTerms: object[]) => ({
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } },
  });
  const term = (key: string, operator: string, ...values: string[]) => ({
    matchExpressions: [{ key, operator, values }],
  });
  const cases: [object, boolean][] = [
    [{}, true],
    [{ nodeSelector: { zone: 'a' } }, true],
    [{ nodeSelector: { zone: 'b' } }, false],
    [{ affinity: { podAffinity: {} } }, true],
    [required(term('zone', 'In', 'a', 'b')), true],
    [required(term('zone', 'NotIn', 'a')), false],
    [required(term('zone', 'NotIn', 'a'), term('zone', 'Exists')), true],
    [required(term('none', 'DoesNotExist')), true],
    [required(term('size', 'Gt', '3')), true],
    [required(term('size', 'Lt', '3')), false],
    [required({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] }), true],
    [required({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n2'] }] }), false],
    [required({}), false],
    [required(term('zone', 'Unknown')), false],
    [required(), false],
  ];
  for (const [spec, expected] of cases)
    assert.equal(placementMatches(spec, node), expected, JSON.stringify(spec));
});

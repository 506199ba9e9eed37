// What the agent decides from what it finds on a node: the kind of iptables, nftables or not, upgrade or removal.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#/kit/index.ts';
import { CommandError, fakeCommands } from '#/sys/index.ts';
import { useNftables } from './host-setup.ts';
import { findIptables } from './iptables-binaries.ts';
import { placementMatches } from './shutdown.ts';

const rules = '*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n';
const hint = '*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n';
const nft = 'iptables v1.8.9 (nf_tables)';
const legacy = 'iptables v1.8.9 (legacy)';

test('the kind of iptables that is in use on the node', async () => {
  const cases: [string, Record<string, string>, 'nft' | 'legacy' | undefined, string][] = [
    ['nothing is there', { version: nft }, undefined, 'iptables-save'],
    ['only one kind is installed', { version: legacy, 'iptables-save': '' }, undefined, 'iptables-save'],
    [
      'the other holds rules',
      { version: nft, 'iptables-save': '', 'iptables-legacy-save': rules },
      undefined,
      'iptables-legacy-save',
    ],
    [
      'both hold rules',
      { version: nft, 'iptables-save': rules, 'iptables-legacy-save': rules },
      undefined,
      'iptables-save',
    ],
    [
      'the kubelet used the other',
      { version: legacy, 'iptables-save': rules, 'iptables-nft-save': hint },
      undefined,
      'iptables-nft-save',
    ],
    [
      'the kubelet used this',
      { version: legacy, 'iptables-save': hint, 'iptables-nft-save': rules },
      undefined,
      'iptables-save',
    ],
    ['forced, and it is the usual one', { version: nft }, 'nft', 'iptables-save'],
    ['forced to the other', { version: nft, 'iptables-legacy-save': '' }, 'legacy', 'iptables-legacy-save'],
  ];
  for (const [name, found, forced, expected] of cases) {
    const { run } = fakeCommands((argv) => {
      const key = argv[1] === '--version' ? 'version' : (argv[0] as string);
      if (found[key] === undefined) throw new CommandError(argv, 'not found');
      return { stdout: found[key] };
    });
    assert.equal((await findIptables(run, forced)).save(4), expected, name);
  }
  const { run } = fakeCommands((argv) => (argv[1] === '--version' ? { stdout: nft } : { code: 1 }));
  await assert.rejects(findIptables(run, 'legacy'), /FORCE_IPTABLES_BINARY=legacy: .* cannot be run/);
  const found = await findIptables(run, 'nft');
  assert.equal(found.restore(6), 'ip6tables-restore');
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

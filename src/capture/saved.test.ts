import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  canonicalRule,
  captureDefaults,
  cleanupInput,
  compareSaved,
  guardChain,
  guardrailInput,
  hasHostRules,
  hostRestoreInput,
  parseSaved,
  podRules,
  replaceInput,
  restoreInput,
} from './index.ts';

const settings = { ...captureDefaults, dnsCapture: false };
const rules = podRules(settings, 4);
const saved = (text: string) => parseSaved(text.replace(/^-N (\S+)$/gm, ':$1 - [0:0]'));
const good = restoreInput(rules);

test('one rule in different spellings is one rule', () => {
  const same = [
    '! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006',
    '! -d 127.0.0.1 -p tcp ! --dport 15008 -m mark ! --mark 0x0539/0x00000fff -j REDIRECT --to-ports 15006',
    '-p tcp ! -d 127.0.0.1/32 -m mark ! --mark 0x539/0xfff -m tcp ! --dport 15008 -j REDIRECT --to-ports 15006',
  ].map(canonicalRule);
  assert.equal(new Set(same).size, 1);
  const other = [
    '-d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006',
    '! -d 127.0.0.1/32 -p tcp -m tcp --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006',
    '! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xff -j REDIRECT --to-ports 15006',
    '! -d 127.0.0.0/8 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006',
  ].map(canonicalRule);
  for (const text of other) assert.notEqual(text, same[0]);
  assert.equal(canonicalRule('-s ::0001/128 -j ACCEPT'), canonicalRule('-s ::1 -j ACCEPT'));
  assert.equal(
    canonicalRule('-m comment --comment "a - b ! c" -j ACCEPT'),
    '--comment "a - b ! c" -j ACCEPT',
  );
});

test('nothing of ours is absent, whatever others have', () => {
  const others = '*nat\n:DOCKER - [0:0]\n-A PREROUTING -j DOCKER\n-A DOCKER -i x -j RETURN\nCOMMIT\n';
  assert.deepEqual(compareSaved(parseSaved(''), rules), { state: 'absent' });
  assert.deepEqual(compareSaved(parseSaved(others), rules), { state: 'absent' });
  assert.equal(cleanupInput(parseSaved(others)), '');
});

test('every kind of drift is found and named', () => {
  const drifts: [string, string, RegExp][] = [
    [
      'a rule is gone',
      good.replace(/^-A ISTIO_OUTPUT -p tcp -m mark.*\n/m, ''),
      /missing from ISTIO_OUTPUT in nat/,
    ],
    [
      'a rule is added',
      good.replace('COMMIT', '-A ISTIO_OUTPUT -p tcp -j ACCEPT\nCOMMIT'),
      /unexpected in ISTIO_OUTPUT/,
    ],
    ['a rule is doubled', good.replace(/^(-A ISTIO_OUTPUT -m connmark.*\n)/m, '$1$1'), /order or number/],
    [
      'the order changed',
      good.replace(/^(-A ISTIO_OUTPUT -d 169.*\n)((?:.*\n)*?)(-A ISTIO_OUTPUT ! -d.*15001\n)/m, '$3$2$1'),
      /order or number/,
    ],
    ['a jump is gone', good.replace('-A OUTPUT -j ISTIO_OUTPUT\n', ''), /no jump to ISTIO_OUTPUT in mangle/],
    ['a jump has a condition', good.replace('-A OUTPUT -j', '-A OUTPUT -p tcp -j'), /other jumps than one/],
    ['a jump is doubled', good.replace('-A OUTPUT -j ISTIO_OUTPUT\n', '$&$&'), /other jumps than one/],
    ['a table is gone', good.slice(good.indexOf('*nat')), /no chain ISTIO_PRERT in mangle/],
    ['DNS was on', restoreInput(podRules(captureDefaults, 4)), /unexpected chain ISTIO_PRERT in raw/],
    [
      'a foreign chain of the mesh',
      `${good}*filter\n:ISTIO_OLD - [0:0]\nCOMMIT\n`,
      /unexpected chain ISTIO_OLD/,
    ],
    ['a guardrail was left', good + guardrailInput(), /unexpected chain ISTIO_GUARD in filter/],
    [
      'other probe address',
      good.replaceAll('169.254.7.127', '169.254.7.128'),
      /missing from ISTIO_PRERT in nat/,
    ],
  ];
  for (const [name, text, reason] of drifts) {
    assert.notEqual(text, good, name);
    const result = compareSaved(saved(text), rules);
    assert.equal(result.state, 'different', name);
    assert.match(result.state === 'different' ? result.reasons.join('; ') : '', reason, name);
  }
});

test('clean-up takes exactly what is ours', () => {
  const text = `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:ISTIO_PRERT - [0:0]
:ISTIO_OLD - [0:0]
-A PREROUTING -m comment --comment "a b" -j KUBE-SERVICES
-A PREROUTING -p tcp -j ISTIO_PRERT
-A PREROUTING -j ISTIO_PRERT
-A ISTIO_PRERT -j ISTIO_OLD
-A KUBE-SERVICES -j RETURN
COMMIT
`;
  assert.equal(
    cleanupInput(parseSaved(text)),
    `*nat
-D PREROUTING -p tcp -j ISTIO_PRERT
-D PREROUTING -j ISTIO_PRERT
-F ISTIO_PRERT
-F ISTIO_OLD
-X ISTIO_PRERT
-X ISTIO_OLD
COMMIT
`,
  );
});

test('replacement removes and adds in one transaction per table, and leaves the guardrail', () => {
  const text = replaceInput(
    saved(restoreInput(podRules(captureDefaults, 4)) + guardrailInput()),
    rules,
    guardChain,
  );
  assert.equal(text.match(/^\*nat$/gm)?.length, 1);
  assert.match(text, /\*nat\n-D PREROUTING -j ISTIO_PRERT\n(?:.*\n)*-X ISTIO_OUTPUT\n-N ISTIO_PRERT\n/);
  assert.match(text, /\*raw\n(?:-[DFX].*\n)+COMMIT\n/);
  assert.doesNotMatch(text, /GUARD|filter/);
});

test('the host rule must stand first and alone', () => {
  const host = hostRestoreInput(new Map(), settings, 4);
  const asSaved = host.replace(/^-N (\S+)$/gm, ':$1 - [0:0]').replace('-I POSTROUTING 1', '-A POSTROUTING');
  assert.ok(hasHostRules(parseSaved(asSaved), settings, 4));
  const behind = asSaved.replace('-A POSTROUTING', '-A POSTROUTING -j CNI-X\n-A POSTROUTING');
  assert.ok(!hasHostRules(parseSaved(behind), settings, 4));
  assert.ok(!hasHostRules(parseSaved(asSaved), { ...settings, probeAddressV4: '169.254.1.1' as never }, 4));
  assert.ok(!hasHostRules(parseSaved(''), settings, 4));
  assert.match(
    hostRestoreInput(parseSaved(behind), settings, 4),
    /\*nat\n-D POSTROUTING -j ISTIO_POSTRT\n-F ISTIO_POSTRT\n-X ISTIO_POSTRT\n-N ISTIO_POSTRT\n/,
  );
});

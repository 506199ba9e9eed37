// `aura demo waypoint`, which is what `npm run demo -- waypoint` runs: the second part of the tour as a program.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostNetwork, TestLab } from './test-lab.ts';

test('plays eleven steps, exits with 0, leaves nothing', async () => {
  await using lab = new TestLab();
  const host = await hostNetwork();
  const result = await lab.aura('demo', 'waypoint');
  assert.equal(result.code, 0, `${result.stdout}\n${result.stderr}`);
  const { stdout } = result;
  assert.deepEqual(
    [...stdout.matchAll(/^== (\d+)\. /gm)].map((match) => Number(match[1])),
    Array.from({ length: 12 }, (_, i) => i),
  );
  assert.match(stdout, /✅ waypoint bookinfo\/waypoint is ready!/);
  assert.match(stdout, /end-user: jason: +reviews-v2: 20$/m);
  assert.match(stdout, /^ +reviews-v1: 2\d\d, reviews-v3: \d+$/m);
  assert.match(stdout, /flags=FI details=fault_filter_abort/);
  assert.match(stdout, /before: details-v1: 5, details-v1 with 500: 5/);
  assert.match(stdout, /after: +details-v1: 10$/m);
  assert.match(stdout, / 200 flags=- details=via_upstream attempts=2 /);
  assert.match(stdout, / 504 flags=UT details=response_timeout /);
  assert.match(stdout, /\/%61dmin\/users → 403 RBAC: access denied/);
  assert.match(
    stdout,
    /details=rbac_access_denied_matched_policy\[ns\[bookinfo\]-policy\[deny-admin\]-rule\[0\]\]/,
  );
  assert.match(stdout, /of another key: +401 Jwt verification fails/);
  assert.match(stdout, /token of anna: +200 from productpage-v1/);
  assert.match(stdout, /destination's ztunnel, on .* direction="inbound"/);
  assert.match(stdout, /waypoint bookinfo\/waypoint deleted/);
  assert.match(stdout, /The tour is over: every check held/);
  assert.deepEqual(await lab.leftovers(), []);
  assert.equal(await hostNetwork(), host);
});

test('a part that there is not is refused before a lab is made', async () => {
  await using lab = new TestLab();
  const result = await lab.aura('demo', 'waypoints');
  assert.equal(result.code, 1);
  assert.match(result.stderr, /Allowed choices are mesh, waypoint, all/);
  assert.deepEqual(await lab.leftovers(), []);
});

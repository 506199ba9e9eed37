import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { ManualClock, silentLogger } from '#/kit/index.ts';
import { identityOf, type Identity } from '#/model/index.ts';
import { CertificateAuthority } from './certificate-authority.ts';
import { CertificateManager, type CertificateManagerOptions } from './certificate-manager.ts';
import { createCsr, type KeyAndRequest } from './csr.ts';

const start = Date.parse('2026-09-01T12:00:00Z');
const hour = 3_600_000;
const web = identityOf('cluster.local', 'shop', 'web');
const id = (name: string) => identityOf('cluster.local', 'shop', name);

let root: CertificateAuthority;
// One key for all: making keys takes a thread of its own, and the steps below count turns of the event loop.
let request: KeyAndRequest;
before(async () => {
  request = await createCsr(web);
  root = await CertificateAuthority.selfSigned({
    trustDomain: 'cluster.local',
    clock: new ManualClock(start),
  });
});

/** Lets everything that only waits for other promises and for the thread pool run. */
const settled = async (done: () => boolean): Promise<void> => {
  for (let i = 0; i < 2000 && !done(); i++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(done(), 'did not settle');
};

/** A manager on a manual clock, with a CA whose calls are recorded and can be held or made to fail. */
async function harness(options: Partial<CertificateManagerOptions> = {}) {
  const clock = new ManualClock(start);
  const authority = await CertificateAuthority.fromPem(root.files, { clock });
  const calls: Identity[] = [];
  const ca = {
    calls,
    open: 0,
    peak: 0,
    fail: undefined as string | undefined,
    gate: Promise.resolve(),
    async createCertificate(csrPem: string, ttl: number, identity?: Identity): Promise<readonly string[]> {
      calls.push(identity as Identity);
      ca.peak = Math.max(ca.peak, ++ca.open);
      try {
        await ca.gate;
        if (ca.fail !== undefined) throw new Error(ca.fail);
        return (await authority.sign(csrPem, identity as Identity, ttl)).chain;
      } finally {
        ca.open--;
      }
    },
  };
  const manager = new CertificateManager({
    ca,
    clock,
    log: silentLogger,
    random: () => 0.5,
    createCsr: () => Promise.resolve(request),
    ...options,
  });
  const state = (identity: Identity) =>
    manager.snapshot().find((entry) => entry.identity === identity)?.state;
  return { clock, ca, manager, state };
}

suite('a certificate', () => {
  test('is fetched once however many ask at once, and is there at once afterwards', async () => {
    const { manager, ca } = await harness();
    const all = await Promise.all([manager.get(web), manager.get(web), manager.get(web)]);
    assert.equal(all[0].identity, web);
    assert.equal(all[0], all[2]);
    assert.equal(await manager.get(web), all[0]);
    assert.deepEqual(ca.calls, [web]);
    assert.equal(all[0].notBefore, start - 120_000);
    assert.equal(all[0].notAfter, start + 24 * hour);
  });

  test('is renewed at half of its life, and subscribers hear of it', async () => {
    const { manager, ca, clock } = await harness();
    const serials: string[] = [];
    manager.onUpdate(({ serial }) => serials.push(serial));
    const first = await manager.get(web);
    // Half of 24 h and the two minutes that it is dated back.
    clock.advance(12 * hour - 60_001);
    assert.equal(ca.calls.length, 1);
    clock.advance(1);
    await settled(() => serials.length === 2);
    const second = await manager.get(web);
    assert.notEqual(second.serial, first.serial);
    assert.deepEqual(serials, [first.serial, second.serial]);
  });

  test('with a life shorter than its back-dating is not fetched in a loop', async () => {
    const { manager, ca, clock } = await harness({ ttlSeconds: 60 });
    await manager.get(web);
    clock.advance(29_999);
    assert.equal(ca.calls.length, 1);
    clock.advance(1);
    await settled(() => ca.calls.length === 2);
  });

  test('stays in use while renewal fails, and no longer than it is valid', async () => {
    const { manager, ca, clock, state } = await harness({ ttlSeconds: 3600 });
    const first = await manager.get(web);
    ca.fail = 'the CA is away';
    clock.advance(1740_000);
    await settled(() => ca.calls.length === 2 && ca.open === 0);
    assert.equal(await manager.get(web), first);
    assert.equal(state(web), 'Available');
    // Later failures wait longer, but never beyond the end of what is in use.
    for (let i = 3; clock.now() < first.notAfter; i++) {
      clock.advance(Math.min(200_000, first.notAfter - clock.now()));
      await settled(() => ca.calls.length >= i && ca.open === 0);
    }
    await settled(() => state(web)?.startsWith('Unavailable: ') === true);
    await assert.rejects(manager.get(web), { code: 'CERTIFICATE_UNAVAILABLE' });
    ca.fail = undefined;
    clock.advance(200_000);
    await settled(() => state(web) === 'Available');
  });
});

suite('a failure', () => {
  test('reaches everyone who waits, and is tried again after 1 s, 2 s, 4 s … 150 s', async () => {
    const { manager, ca, clock, state } = await harness();
    ca.fail = 'node has no pod with this account';
    const both = await Promise.allSettled([manager.get(web), manager.get(web)]);
    for (const one of both) {
      assert.equal(one.status, 'rejected');
      assert.match(String(one.reason), /shop\/sa\/web: node has no pod with this account/);
    }
    assert.match(state(web) ?? '', /^Unavailable: .*node has no pod/);
    const delays: number[] = [];
    for (let i = 2; i <= 11; i++) {
      const from = clock.now();
      while (ca.calls.length < i) {
        clock.advance(500);
        await new Promise((resolve) => setImmediate(resolve));
      }
      delays.push(clock.now() - from);
    }
    assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000]);
  });

  test('makes later callers fail at once, without another request', async () => {
    const { manager, ca } = await harness();
    ca.fail = 'no';
    await assert.rejects(manager.get(web));
    await assert.rejects(manager.get(web));
    assert.equal(ca.calls.length, 1);
  });

  for (const [what, reply, message] of [
    ['nothing', () => [], /0 certificates/],
    ['a leaf without roots', (chain: readonly string[]) => chain.slice(0, 1), /1 certificates/],
    ['no PEM', () => ['x', 'y'], /element 0 .* not a PEM/],
  ] as const)
    test(`is what an answer of ${what} is`, async () => {
      const { manager, ca } = await harness();
      const honest = ca.createCertificate;
      ca.createCertificate = async (...args) => reply(await honest(...args));
      await assert.rejects(manager.get(web), message);
    });

  test('is what a certificate for someone else, or for another key, is', async () => {
    const { manager, ca } = await harness();
    const honest = ca.createCertificate;
    ca.createCertificate = async (csr, ttl) => honest(csr, ttl, id('admin'));
    await assert.rejects(manager.get(web), /certificate for spiffe:.*admin instead of .*web/);
    ca.createCertificate = async (_csr, ttl, identity) =>
      honest((await createCsr(web)).csrPem, ttl, identity);
    await assert.rejects(manager.get(id('cart')), /another key/);
  });
});

suite('many identities', () => {
  test('are fetched eight at a time, those that are waited for first, renewals last', async () => {
    const { manager, ca } = await harness();
    const { promise, resolve } = Promise.withResolvers<void>();
    ca.gate = promise;
    const names = Array.from({ length: 20 }, (_, i) => id(`soon-${i}`));
    for (const name of names) manager.want(name);
    const urgent = manager.get(id('urgent'));
    // One that was only wanted soon becomes urgent as well.
    const raised = manager.get(id('soon-19'));
    await settled(() => ca.calls.length === 8);
    resolve();
    await Promise.all([urgent, raised, ...names.map(async (name) => manager.get(name))]);
    assert.equal(ca.peak, 8);
    assert.deepEqual(new Set(ca.calls.slice(8, 10)), new Set([id('urgent'), id('soon-19')]));
    assert.equal(ca.calls.length, 21);
  });

  test('have a limit', async () => {
    const { manager } = await harness({ maxIdentities: 1 });
    await manager.get(web);
    await assert.rejects(manager.get(id('cart')), { code: 'CERTIFICATE_UNAVAILABLE' });
    manager.forget(web);
    await manager.get(id('cart'));
  });
});

suite('a forgotten identity', () => {
  test('is not renewed and not shown', async () => {
    const { manager, ca, clock } = await harness();
    await manager.get(web);
    manager.forget(web);
    clock.advance(24 * hour);
    assert.equal(ca.calls.length, 1);
    assert.deepEqual(manager.snapshot(), []);
  });

  test('fails whoever waits for it, and its late answer is dropped', async () => {
    const { manager, ca } = await harness();
    const { promise, resolve } = Promise.withResolvers<void>();
    ca.gate = promise;
    const waiting = manager.get(web);
    await settled(() => ca.calls.length === 1);
    manager.forget(web);
    await assert.rejects(waiting, /no longer used/);
    resolve();
    await settled(() => ca.open === 0);
    assert.deepEqual(manager.snapshot(), []);
  });

  test('can come back while its old request is under way', async () => {
    const { manager, ca } = await harness();
    const { promise, resolve } = Promise.withResolvers<void>();
    ca.gate = promise;
    manager.want(web);
    await settled(() => ca.calls.length === 1);
    manager.forget(web);
    const again = manager.get(web);
    resolve();
    assert.equal((await again).identity, web);
    assert.equal(ca.calls.length, 2);
  });
});

test('after disposal nothing is fetched any more and waiters are let go', async () => {
  const { manager, ca, clock } = await harness();
  await manager.get(web);
  ca.gate = new Promise(() => {});
  const waiting = manager.get(id('cart'));
  manager[Symbol.dispose]();
  await assert.rejects(waiting);
  clock.advance(48 * hour);
  await assert.rejects(manager.get(web), /shutting down/);
  assert.ok(ca.calls.length <= 2);
});

import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { CertificateAuthority, createCsr, type Certificate } from '#/identity/index.ts';
import { ManualClock } from '#/kit/index.ts';
import { parseIdentity, type Identity } from '#/model/index.ts';
import { WorkerCertificates } from './worker-certificates.ts';

const web = parseIdentity('spiffe://cluster.local/ns/shop/sa/web') as Identity;

suite("a worker's certificates", () => {
  let certificate: Certificate;

  before(async () => {
    const authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
    const { csrPem, keyPem } = await createCsr(web);
    const { chain } = await authority.sign(csrPem, web, 3600);
    certificate = {
      identity: web,
      keyPem,
      chainPem: chain[0] as string,
      rootsPem: chain.at(-1) as string,
      notBefore: 0,
      notAfter: 1000_000,
      serial: '1',
    };
  });

  function fixture() {
    const clock = new ManualClock();
    const asked: Identity[] = [];
    return { clock, asked, certificates: new WorkerCertificates((identity) => asked.push(identity), clock) };
  }

  test('asked for once, however many wait', async () => {
    const { asked, certificates } = fixture();
    assert.equal(certificates.peek(web), undefined);
    const waiting = [certificates.get(web), certificates.get(web), certificates.get(web)];
    assert.deepEqual(asked, [web]);
    certificates.receive(certificate);
    for (const { certificate: got } of await Promise.all(waiting)) assert.equal(got, certificate);
    assert.equal((await certificates.get(web)).certificate, certificate);
    assert.deepEqual(asked, [web]);
  });

  test('refused: all that wait are told; the next asks again', async () => {
    const { asked, certificates } = fixture();
    const waiting = [certificates.get(web), certificates.get(web)];
    certificates.fail(web, 'not on this node');
    for (const one of waiting)
      await assert.rejects(one, {
        code: 'CERTIFICATE_UNAVAILABLE',
        message: `identity error: no certificate for ${web}: not on this node`,
      });
    const again = certificates.get(web);
    assert.equal(asked.length, 2);
    certificates.receive(certificate);
    await again;
  });

  test('no answer for 10 s; one that comes late still serves the next', async () => {
    const { clock, asked, certificates } = fixture();
    const first = certificates.get(web);
    clock.advance(6000);
    const second = certificates.get(web);
    clock.advance(4000);
    await assert.rejects(first, /no answer from the certificate authority within 10 s$/);
    clock.advance(6000);
    await assert.rejects(second, /no answer/);
    assert.equal(asked.length, 1);
    const third = certificates.get(web);
    assert.equal(asked.length, 2, 'asked again when nobody waited any more');
    certificates.receive(certificate);
    await third;
    assert.equal(certificates.peek(web)?.certificate, certificate);
  });

  test('expired: not used, asked for again', () => {
    const { clock, asked, certificates } = fixture();
    certificates.receive(certificate);
    clock.advance(999_999);
    assert.equal(certificates.peek(web)?.certificate, certificate);
    clock.advance(1);
    assert.equal(certificates.peek(web), undefined);
    void certificates.get(web).catch(() => {});
    assert.deepEqual(asked, [web]);
  });

  test('forgotten: gone', () => {
    const { certificates } = fixture();
    certificates.receive(certificate);
    certificates.forget(web);
    assert.equal(certificates.peek(web), undefined);
  });

  test('so many may wait, and no more', async () => {
    const { certificates } = fixture();
    const waiting = Array.from({ length: 1000 }, () => certificates.get(web));
    await assert.rejects(certificates.get(web), /too many connections wait for it$/);
    certificates.receive(certificate);
    assert.equal((await Promise.all(waiting)).length, 1000);
  });
});

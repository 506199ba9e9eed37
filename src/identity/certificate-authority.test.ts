import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { identityOf } from '#/model/index.ts';
import { identityIn, splitPem } from './certificate.ts';
import { CertificateAuthority, SigningError } from './certificate-authority.ts';
import { createCsr } from './csr.ts';

const start = Date.parse('2026-09-01T12:00:00Z');
const web = identityOf('cluster.local', 'shop', 'web');
const day = 86_400;

const openssl = (args: string[], input?: string): string =>
  execFileSync('openssl', args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
const text = (pem: string) => openssl(['x509', '-noout', '-text'], pem);

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'aura-ca-'));
});
after(() => rmSync(folder, { recursive: true }));

/** A root and an intermediate made by openssl, with the key in an older PEM form. */
function pluggedIn(keyForm: 'rsa' | 'ec'): {
  caCertPem: string;
  caKeyPem: string;
  certChainPem: string;
  rootCertPem: string;
} {
  const file = (name: string) => join(folder, `${keyForm}-${name}`);
  const read = (...args: string[]) => openssl(args);
  openssl(['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', file('root.key'), '-out', file('root.pem'),
    '-subj', '/O=Root', '-days', '30', '-addext', 'basicConstraints=critical,CA:TRUE']); // prettier-ignore
  const key = keyForm === 'rsa' ? ['rsa:2048'] : ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'];
  openssl([
    'req',
    '-newkey',
    ...key,
    '-nodes',
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.csr'),
    '-subj',
    '/O=Ca',
  ]);
  writeFileSync(
    file('ext'),
    'basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\nkeyUsage=keyCertSign\n',
  );
  openssl(['x509', '-req', '-in', file('ca.csr'), '-CA', file('root.pem'), '-CAkey', file('root.key'),
    '-CAcreateserial', '-days', '20', '-extfile', file('ext'), '-out', file('ca.pem')]); // prettier-ignore
  const caCertPem = read('x509', '-in', file('ca.pem'));
  return {
    caCertPem,
    caKeyPem: read(keyForm, '-in', file('ca.key'), ...(keyForm === 'rsa' ? ['-traditional'] : [])),
    certChainPem: caCertPem,
    rootCertPem: read('x509', '-in', file('root.pem')),
  };
}

suite('a self-signed root', () => {
  test('has the shape of Istio’s: RSA 2048, ten years, organization is the trust domain', async () => {
    const authority = await CertificateAuthority.selfSigned({
      trustDomain: 'mesh.example',
      clock: new ManualClock(start),
    });
    const shown = text(authority.rootsPem);
    assert.match(shown, /Subject: O ?= ?mesh\.example/);
    assert.match(shown, /Public-Key: \(2048 bit\)/);
    assert.match(shown, /X509v3 Basic Constraints: critical\s+CA:TRUE/);
    assert.match(shown, /X509v3 Key Usage: critical\s+Certificate Sign/);
    assert.equal(authority.notAfter, start + 3650 * day * 1000);
  });

  test('is due for rotation in its last fifth, and keeps old leaves valid when its key is kept', async () => {
    const clock = new ManualClock(start);
    const authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock });
    const { csrPem } = await createCsr(web);
    const { chain } = await authority.sign(csrPem, web, 3600);
    assert.equal(authority.dueForRotation, false);
    clock.advance(2921 * day * 1000);
    assert.equal(authority.dueForRotation, true);
    const next = await CertificateAuthority.selfSigned({
      trustDomain: 'cluster.local',
      clock,
      keyPem: authority.files.caKeyPem,
    });
    const leaf = new X509Certificate(chain[0] as string);
    assert.ok(leaf.verify(new X509Certificate(next.rootsPem).publicKey));
    assert.notEqual(next.rootsPem, authority.rootsPem);
  });

  test('comes back from its files', async () => {
    const authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
    const again = await CertificateAuthority.fromPem(authority.files);
    const { csrPem } = await createCsr(web);
    const { chain } = await again.sign(csrPem, web, 0);
    assert.equal(chain.length, 2);
    assert.equal(chain[1], authority.rootsPem);
  });
});

suite('a leaf', () => {
  const clock = new ManualClock(start);
  let authority: CertificateAuthority;
  before(async () => {
    authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock });
  });

  test('has exactly the fixed usages, times and one critical name', async () => {
    const { csrPem } = await createCsr(web);
    const { chain } = await authority.sign(csrPem, web, 3600);
    assert.equal(chain.length, 2);
    const leaf = new X509Certificate(chain[0] as string);
    assert.equal(leaf.validFromDate.getTime(), start - 120_000);
    assert.equal(leaf.validToDate.getTime(), start + 3_600_000);
    const shown = text(chain[0] as string);
    assert.match(
      shown,
      /X509v3 Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web\n/,
    );
    assert.match(shown, /X509v3 Key Usage: critical\s+Digital Signature, Key Encipherment\n/);
    assert.match(
      shown,
      /X509v3 Extended Key Usage: ?\s+TLS Web Server Authentication, TLS Web Client Authentication\n/,
    );
    assert.match(shown, /X509v3 Basic Constraints: critical\s+CA:FALSE/);
    assert.match(shown, /Subject: ?\n/);
    assert.match(shown, /id-ecPublicKey/);
    assert.equal(leaf.ca, false);
  });

  test('is verified by openssl against the root', async () => {
    const now = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
    const { csrPem } = await createCsr(web);
    const { chain } = await now.sign(csrPem, web, 3600);
    writeFileSync(join(folder, 'r.pem'), now.rootsPem);
    assert.match(
      openssl(['verify', '-purpose', 'sslclient', '-CAfile', join(folder, 'r.pem')], chain[0]),
      /OK/,
    );
  });

  test('takes no name, usage or subject from the request', async () => {
    const csr = openssl(['req', '-newkey', 'rsa:2048', '-nodes', '-keyout', join(folder, 'x.key'), '-subj', '/O=Evil/CN=evil',
      '-addext', 'subjectAltName=URI:spiffe://cluster.local/ns/kube-system/sa/admin,DNS:evil.example',
      '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=keyCertSign']); // prettier-ignore
    const { chain } = await authority.sign(csr, web, 3600);
    const leaf = new X509Certificate(chain[0] as string);
    assert.equal(leaf.subjectAltName, `URI:${web}`);
    assert.equal(leaf.ca, false);
    // A request with a common name gets one: its identity.
    assert.equal(leaf.subject, `CN=${web}`);
  });

  test('has no common name when the identity is longer than 64 characters', async () => {
    const long = identityOf('cluster.local', 'n'.repeat(40), 's'.repeat(40));
    const csr = openssl([
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      join(folder, 'y.key'),
      '-subj',
      '/CN=x',
    ]);
    const { chain } = await authority.sign(csr, long, 60);
    const leaf = new X509Certificate(chain[0] as string);
    assert.equal(leaf.subject, undefined);
    assert.equal(identityIn(leaf.raw), long);
  });

  for (const [ttl, seconds] of [
    [0, day],
    [-5, day],
    [60, 60],
    [90 * day, 90 * day],
  ] as const)
    test(`with a requested TTL of ${ttl} s holds for ${seconds} s`, async () => {
      const { csrPem } = await createCsr(web);
      const { chain } = await authority.sign(csrPem, web, ttl);
      assert.equal(new X509Certificate(chain[0] as string).validToDate.getTime(), start + seconds * 1000);
    });

  test('never outlives the signer', async () => {
    const files = pluggedIn('rsa');
    const plugged = await CertificateAuthority.fromPem(files);
    const { csrPem } = await createCsr(web);
    const { chain } = await plugged.sign(csrPem, web, 60 * day);
    assert.equal(
      new X509Certificate(chain[0] as string).validTo,
      new X509Certificate(files.caCertPem).validTo,
    );
  });
});

suite('a plugged-in intermediate', () => {
  for (const form of ['rsa', 'ec'] as const)
    test(`with a traditional ${form} key signs; each intermediate is its own element, the roots come last`, async () => {
      const files = pluggedIn(form);
      const roots = `${files.rootCertPem}${pluggedIn('rsa').rootCertPem}`;
      const authority = await CertificateAuthority.fromPem({ ...files, rootCertPem: roots });
      const { csrPem } = await createCsr(web);
      const { chain } = await authority.sign(csrPem, web, 3600);
      assert.equal(chain.length, 3);
      assert.deepEqual(
        chain.slice(0, 2).map((element) => splitPem(element).length),
        [1, 1],
      );
      assert.equal(chain[2], roots);
      writeFileSync(join(folder, 'root.pem'), files.rootCertPem);
      writeFileSync(join(folder, 'mid.pem'), chain[1] as string);
      assert.match(
        openssl(
          ['verify', '-CAfile', join(folder, 'root.pem'), '-untrusted', join(folder, 'mid.pem')],
          chain[0],
        ),
        /OK/,
      );
    });

  test('with someone else’s key is refused', async () => {
    const files = pluggedIn('rsa');
    await assert.rejects(
      CertificateAuthority.fromPem({ ...files, caKeyPem: pluggedIn('ec').caKeyPem }),
      /does not belong to the CA certificate/,
    );
    const leaf = await (await CertificateAuthority.fromPem(files)).issueServing({ dnsNames: ['x'] });
    await assert.rejects(
      CertificateAuthority.fromPem({ ...files, caCertPem: leaf.certPem, caKeyPem: leaf.keyPem }),
      /not a CA certificate/,
    );
    await assert.rejects(CertificateAuthority.fromPem({ ...files, caCertPem: '' }), /ca-cert\.pem holds no/);
    await assert.rejects(
      CertificateAuthority.fromPem({ ...files, rootCertPem: '' }),
      /root-cert\.pem holds no/,
    );
  });
});

suite('a request that cannot be signed', () => {
  const clock = new ManualClock(start);
  let authority: CertificateAuthority;
  before(async () => {
    authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock });
  });
  const refused =
    (kind: SigningError['kind'], status: SigningError['status'], message: RegExp) => (error: unknown) =>
      error instanceof SigningError &&
      error.kind === kind &&
      error.status === status &&
      message.test(error.message);

  test('for too long', async () => {
    const { csrPem } = await createCsr(web);
    const expected = refused('ttl', 'INVALID_ARGUMENT', /7776001 s is greater than the maximum of 7776000 s/);
    await assert.rejects(authority.sign(csrPem, web, 90 * day + 1), expected);
    await assert.rejects(authority.sign(csrPem, web, Number.NaN), refused('ttl', 'INVALID_ARGUMENT', /TTL/));
  });

  for (const [what, csr] of [
    ['nothing', ''],
    ['no PEM', 'MIIB'],
    ['garbage in PEM', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n'],
    ['something huge', `-----BEGIN CERTIFICATE REQUEST-----\n${'A'.repeat(70_000)}`],
  ] as const)
    test(`because it is ${what}`, async () => {
      await assert.rejects(authority.sign(csr, web, 60), refused('csr', 'INVALID_ARGUMENT', /request/));
    });

  test('because its signature is wrong', async () => {
    const { csrPem } = await createCsr(web);
    const body = Buffer.from(csrPem.replaceAll(/-----.*-----/g, ''), 'base64');
    // The last byte of the signature.
    body[body.length - 1] = (body.at(-1) as number) ^ 1;
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${body.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    await assert.rejects(
      authority.sign(forged, web, 60),
      refused('csr', 'INVALID_ARGUMENT', /signature is wrong/),
    );
  });

  test('because its key is weak', async () => {
    const csr = openssl([
      'req',
      '-newkey',
      'rsa:1024',
      '-nodes',
      '-keyout',
      join(folder, 'w.key'),
      '-subj',
      '/',
    ]);
    await assert.rejects(authority.sign(csr, web, 60), refused('csr', 'INVALID_ARGUMENT', /1024 bits/));
  });

  test('because the CA itself has expired', async () => {
    const { csrPem } = await createCsr(web);
    clock.advance(3651 * day * 1000);
    await assert.rejects(authority.sign(csrPem, web, 60), refused('not-ready', 'INTERNAL', /expired/));
  });
});

test('a serving certificate has the DNS and IP names it was asked for', async () => {
  const authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
  const { certPem } = await authority.issueServing({
    dnsNames: ['istiod.istio-system.svc', 'localhost'],
    ips: ['127.0.0.1', 'fd00::1'],
  });
  const leaf = new X509Certificate(certPem);
  assert.equal(leaf.checkHost('istiod.istio-system.svc'), 'istiod.istio-system.svc');
  assert.equal(leaf.checkIP('127.0.0.1'), '127.0.0.1');
  assert.ok(leaf.verify(new X509Certificate(authority.rootsPem).publicKey));
});

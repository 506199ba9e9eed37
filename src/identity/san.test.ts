import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { identityIn } from './certificate.ts';
import { uriNames } from './san.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'aura-san-'));
});
after(() => rmSync(folder, { recursive: true }));

/** DER of a certificate whose names are written as openssl's configuration has them. */
function certificate(names: string): Buffer {
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/CN=x',
  ];
  const extension = names === '' ? [] : ['-addext', `subjectAltName=${names}`];
  const pem = execFileSync('openssl', [...args, '-keyout', join(folder, 'key'), ...extension], {
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  return new X509Certificate(pem).raw;
}

suite('URI names', () => {
  test('are read in order, other kinds of names are passed over', () => {
    const names =
      'DNS:spiffe.example,URI:https://example.org/x,IP:10.0.0.1,email:a@b.c,URI:spiffe://td/ns/a/sa/b';
    assert.deepEqual(uriNames(certificate(names)), ['https://example.org/x', 'spiffe://td/ns/a/sa/b']);
  });

  test('are none in a certificate without names', () => {
    assert.deepEqual(uriNames(certificate('')), []);
  });

  test('cannot be forged by a DNS name that looks like a list', () => {
    // Node's text form of such names has fooled readers that split it at commas (CVE-2021-44532).
    const text = 'evil.example, URI:spiffe://td/ns/kube-system/sa/admin';
    const der = certificate(`DNS:${'a'.repeat(text.length)}`);
    der.write(text, der.indexOf('aaaa'));
    assert.ok(new X509Certificate(der).subjectAltName?.includes('URI:spiffe'));
    assert.deepEqual(uriNames(der), []);
    assert.equal(identityIn(der), undefined);
  });

  test('with characters that no URI has are left out', () => {
    const der = certificate('URI:spiffe://td/ns/a/sa/b');
    for (const byte of [0x00, 0x0a, 0x20, 0x7f, 0xc3]) {
      const patched = Buffer.from(der);
      patched[patched.indexOf('spiffe://td') + 9] = byte;
      assert.deepEqual(uriNames(patched), []);
    }
  });

  test('the first that is a SPIFFE identity counts', () => {
    const names = 'URI:spiffe://td/other,URI:spiffe://td/ns/a/sa/b,URI:spiffe://td/ns/c/sa/d';
    assert.equal(identityIn(certificate(names)), 'spiffe://td/ns/a/sa/b');
  });
});

suite('malformed DER', () => {
  test('throws RangeError and nothing else, wherever it is cut or changed', () => {
    const der = certificate('URI:spiffe://td/ns/a/sa/b');
    const tried = (bytes: Buffer) => {
      try {
        uriNames(bytes);
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    };
    for (let i = 0; i < der.length; i++) {
      assert.throws(() => uriNames(der.subarray(0, i)), RangeError);
      for (const value of [0x00, 0x7f, 0x80, 0x83, 0xff]) {
        const patched = Buffer.from(der);
        patched[i] = value;
        tried(patched);
      }
    }
  });

  test('two lists of names are refused', () => {
    const der = certificate('URI:spiffe://td/ns/a/sa/b');
    // Rename the subject key identifier (2.5.29.14) to a second list of names (2.5.29.17).
    const patched = Buffer.from(der);
    const at = patched.indexOf(Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x0e]));
    assert.ok(at > 0);
    patched[at + 4] = 0x11;
    assert.throws(() => uriNames(patched), RangeError);
  });
});

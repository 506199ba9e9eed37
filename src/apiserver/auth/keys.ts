// The server's own secrets: a certificate authority for itself and its clients, and the key that signs service
// account tokens. Made on the first start, kept in the data directory, readable by their owner only.
import { webcrypto, createPrivateKey, createPublicKey, randomBytes, type KeyObject } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type * as X509 from '@peculiar/x509';
import { parseIp } from '#/kit/index.ts';

export interface Keys {
  /** PEM of the authority that signed the server's certificate and the clients'. */
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly adminCert: string;
  readonly adminKey: string;
  readonly tokenKey: KeyObject;
  readonly tokenPublicKey: KeyObject;
}

const day = 86_400_000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** So that a crash never leaves half a file, and nobody else can read it in between. */
export function writeSecret(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600 });
  chmodSync(temporary, 0o600);
  renameSync(temporary, path);
}

interface Pair {
  readonly cert: string;
  readonly key: string;
}

/**
 * Reads the keys in `dir`, making what is missing, and a new server certificate when the names it must be valid
 * for have changed or it ends within a month.
 */
export async function loadKeys(
  dir: string,
  names: readonly string[],
  now: number = Date.now(),
): Promise<Keys> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  // Its import is slow, and only needed when something has to be signed.
  const x509 = async (): Promise<typeof X509> => {
    await import('./reflect.ts');
    const module = await import('@peculiar/x509');
    module.cryptoProvider.set(webcrypto as never);
    return module;
  };
  const read = (name: string): string | undefined => {
    const path = join(dir, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  };
  const toPem = async (key: CryptoKey): Promise<string> => {
    const bytes = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key as never));
    return `-----BEGIN PRIVATE KEY-----\n${(bytes.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END PRIVATE KEY-----\n`;
  };
  const generate = async (): Promise<webcrypto.CryptoKeyPair> =>
    await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const serial = (): string => `0${randomBytes(15).toString('hex')}`;

  let caCert = read('ca.crt');
  let caKey = read('ca.key');
  let renewed = false;
  if (caCert === undefined || caKey === undefined) {
    const x = await x509();
    const keys = await generate();
    const cert = await x.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: 'CN=aura-apiserver-ca',
      notBefore: new Date(now - day),
      notAfter: new Date(now + 3650 * day),
      signingAlgorithm: algorithm,
      keys: keys as never,
      extensions: [
        new x.BasicConstraintsExtension(true, undefined, true),
        new x.KeyUsagesExtension(
          x.KeyUsageFlags.keyCertSign | x.KeyUsageFlags.cRLSign | x.KeyUsageFlags.digitalSignature,
          true,
        ),
        await x.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    caCert = `${cert.toString('pem')}\n`;
    caKey = await toPem(keys.privateKey);
    writeSecret(join(dir, 'ca.key'), caKey);
    writeSecret(join(dir, 'ca.crt'), caCert);
    renewed = true;
  }
  const authority = { cert: caCert, key: caKey };

  const issue = async (
    subject: string,
    usage: 'server' | 'client',
    sans: readonly string[],
  ): Promise<Pair> => {
    const x = await x509();
    const keys = await generate();
    const issuer = new x.X509Certificate(authority.cert);
    const signingKey = await webcrypto.subtle.importKey(
      'pkcs8',
      createPrivateKey(authority.key).export({ type: 'pkcs8', format: 'der' }) as never,
      algorithm,
      false,
      ['sign'],
    );
    const cert = await x.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject,
      issuer: issuer.subject,
      notBefore: new Date(now - day),
      notAfter: new Date(now + 825 * day),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey as never,
      signingKey: signingKey,
      extensions: [
        new x.BasicConstraintsExtension(false, undefined, true),
        new x.KeyUsagesExtension(x.KeyUsageFlags.digitalSignature, true),
        new x.ExtendedKeyUsageExtension([
          usage === 'server' ? x.ExtendedKeyUsage.serverAuth : x.ExtendedKeyUsage.clientAuth,
        ]),
        ...(sans.length === 0
          ? []
          : [
              new x.SubjectAlternativeNameExtension(
                sans.map((name) => ({
                  type: parseIp(name) === undefined ? ('dns' as const) : ('ip' as const),
                  value: name,
                })),
              ),
            ]),
        await x.AuthorityKeyIdentifierExtension.create(issuer.publicKey as never),
      ],
    });
    return { cert: `${cert.toString('pem')}\n`, key: await toPem(keys.privateKey) };
  };

  const pair = async (
    name: string,
    fits: (cert: string) => boolean,
    make: () => Promise<Pair>,
  ): Promise<Pair> => {
    const cert = read(`${name}.crt`);
    const key = read(`${name}.key`);
    if (!renewed && cert !== undefined && key !== undefined && fits(cert)) return { cert, key };
    const made = await make();
    writeSecret(join(dir, `${name}.key`), made.key);
    writeSecret(join(dir, `${name}.crt`), made.cert);
    return made;
  };

  const { X509Certificate } = await import('node:crypto');
  const lasts = (cert: string): boolean => Date.parse(new X509Certificate(cert).validTo) > now + 30 * day;
  const wanted = [...new Set(names)].sort();
  const server = await pair(
    'server',
    (cert) => lasts(cert) && readFileSafe(join(dir, 'server.names')) === wanted.join('\n'),
    () => issue('CN=kube-apiserver', 'server', wanted),
  );
  writeFileSync(join(dir, 'server.names'), wanted.join('\n'), { mode: 0o600 });
  const admin = await pair('admin', lasts, () => issue('O=system:masters,CN=kubernetes-admin', 'client', []));

  let tokenPem = read('sa.key');
  if (tokenPem === undefined) {
    tokenPem = await toPem((await generate()).privateKey);
    writeSecret(join(dir, 'sa.key'), tokenPem);
  }
  const tokenKey = createPrivateKey(tokenPem);
  return {
    ca: caCert,
    serverCert: server.cert,
    serverKey: server.key,
    adminCert: admin.cert,
    adminKey: admin.key,
    tokenKey,
    tokenPublicKey: createPublicKey(tokenKey),
  };
}

function readFileSafe(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

export function kubeconfigText(server: string, keys: Keys): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return `apiVersion: v1
kind: Config
clusters:
- name: aura
  cluster:
    server: ${server}
    certificate-authority-data: ${base64(keys.ca)}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: ${base64(keys.adminCert)}
    client-key-data: ${base64(keys.adminKey)}
contexts:
- name: aura
  context:
    cluster: aura
    user: kubernetes-admin
current-context: aura
preferences: {}
`;
}

import assert from 'node:assert/strict';
import { duplexPair, type Duplex } from 'node:stream';
import { before, suite, test } from 'node:test';
import { connect as tlsConnect, createServer, type TLSSocket } from 'node:tls';
import { connect, createServer as createTcp, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import type { MeshError } from '#/errors/index.ts';
import { ManualClock } from '#/kit/index.ts';
import { identityOf, type Identity } from '#/model/index.ts';
import { assembleCertificate, type Certificate } from './certificate.ts';
import { CertificateAuthority } from './certificate-authority.ts';
import { createCsr } from './csr.ts';
import { acceptTls, connectTls } from './handshake.ts';
import { peerIdentity, tlsClientOptions, tlsServerOptions, verifyPeerIdentity } from './tls-options.ts';

const web = identityOf('cluster.local', 'shop', 'web');
const cart = identityOf('cluster.local', 'shop', 'cart');
const stranger = identityOf('other.example', 'shop', 'web');

let mesh: CertificateAuthority;
let foreign: CertificateAuthority;
let webCertificate: Certificate;
let cartCertificate: Certificate;

async function issue(authority: CertificateAuthority, identity: Identity, ttl = 3600): Promise<Certificate> {
  const { csrPem, keyPem } = await createCsr(identity);
  const { chain } = await authority.sign(csrPem, identity, ttl);
  return assembleCertificate(identity, keyPem, chain);
}

before(async () => {
  mesh = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
  foreign = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
  webCertificate = await issue(mesh, web);
  cartCertificate = await issue(mesh, cart);
});

/** Two ends of one TCP connection on loopback. */
async function tcpPair(): Promise<[Socket, Socket]> {
  const server = createTcp().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  server.close();
  return [client, accepted];
}

/** Both ends' outcomes: an identity, or the code of the error. */
async function shake(
  o: { client: Certificate; server: Certificate; expected: readonly Identity[] },
  [a, b]: [Duplex, Duplex],
): Promise<[string, string]> {
  const outcome = (end: Promise<{ socket: TLSSocket; peer: Identity }>) =>
    end.then(
      ({ peer }) => peer as string,
      (error: MeshError) => error.code,
    );
  const results = await Promise.all([
    outcome(connectTls(a, o.client, o.expected)),
    outcome(acceptTls(b, o.server)),
  ]);
  a.destroy();
  b.destroy();
  return results;
}

suite('mutual TLS', () => {
  for (const [kind, pair] of [
    ['a TCP connection', tcpPair],
    ['a stream', async () => Promise.resolve(duplexPair())],
  ] as const)
    test(`over ${kind} proves both ends and carries bytes both ways`, async () => {
      const [a, b] = await pair();
      const [client, server] = await Promise.all([
        connectTls(a, webCertificate, [cart]),
        acceptTls(b, cartCertificate),
      ]);
      assert.equal(client.peer, cart);
      assert.equal(server.peer, web);
      assert.equal(server.socket.getProtocol(), 'TLSv1.3');
      assert.equal(server.socket.getCipher().name, 'TLS_AES_256_GCM_SHA384');
      assert.equal(server.socket.servername, false);
      assert.equal(server.socket.alpnProtocol, 'h2');
      client.socket.write('ping');
      assert.equal(String((await once(server.socket, 'data'))[0]), 'ping');
      server.socket.end('pong');
      assert.equal(String((await once(client.socket, 'data'))[0]), 'pong');
      client.socket.destroy();
      server.socket.destroy();
    });

  test('is not finished by a server that is someone else', async () => {
    const [client] = await shake(
      { client: webCertificate, server: cartCertificate, expected: [web] },
      await tcpPair(),
    );
    assert.equal(client, 'IDENTITY_MISMATCH');
  });

  test('accepts any of several expected identities', async () => {
    const pair = await tcpPair();
    const expected = [stranger, cart];
    assert.deepEqual(await shake({ client: webCertificate, server: cartCertificate, expected }, pair), [
      cart,
      web,
    ]);
  });

  test('expects nobody when the list is empty', async () => {
    const pair = await tcpPair();
    const [client] = await shake({ client: webCertificate, server: cartCertificate, expected: [] }, pair);
    assert.equal(client, 'IDENTITY_MISMATCH');
  });

  test('refuses a client whose chain ends in another root', async () => {
    const forged = { ...(await issue(foreign, web)), rootsPem: mesh.rootsPem };
    const pair = await tcpPair();
    const [, server] = await shake({ client: forged, server: cartCertificate, expected: [cart] }, pair);
    assert.equal(server, 'TLS_FAILED');
  });

  test('refuses a server whose chain ends in another root', async () => {
    const forged = { ...(await issue(foreign, cart)), rootsPem: mesh.rootsPem };
    const pair = await tcpPair();
    const [client] = await shake({ client: webCertificate, server: forged, expected: [cart] }, pair);
    assert.equal(client, 'TLS_FAILED');
  });

  test('refuses a client of another trust domain, though the root has signed it', async () => {
    const other = await issue(mesh, stranger);
    const pair = await tcpPair();
    const [, server] = await shake({ client: other, server: cartCertificate, expected: [cart] }, pair);
    assert.equal(server, 'TLS_FAILED');
  });

  test('refuses a client with an expired certificate', async () => {
    const { files } = mesh;
    const past = await CertificateAuthority.fromPem(files, {
      clock: new ManualClock(Date.now() - 7_200_000),
    });
    const expired = await issue(past, web, 60);
    const pair = await tcpPair();
    const [, server] = await shake({ client: expired, server: cartCertificate, expected: [cart] }, pair);
    assert.equal(server, 'TLS_FAILED');
  });

  test('refuses a client without a certificate', async () => {
    const [a, b] = await tcpPair();
    const client = tlsConnect({
      socket: a,
      ca: mesh.rootsPem,
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
    });
    client.on('error', () => {});
    await assert.rejects(acceptTls(b, cartCertificate), { code: 'TLS_FAILED' });
    client.destroy();
  });

  test('refuses a client that speaks TLS 1.2, or no h2, or no TLS', async () => {
    const { key, cert, ca } = tlsServerOptions(webCertificate);
    const lax = { key, cert, ca, checkServerIdentity: () => undefined } as const;
    for (const options of [
      { ...lax, maxVersion: 'TLSv1.2', ALPNProtocols: ['h2'] },
      { ...lax },
      { ...lax, ALPNProtocols: ['http/1.1'] },
    ] as const) {
      const [a, b] = await tcpPair();
      const client = tlsConnect({ socket: a, ...(options as object) });
      client.on('error', () => {});
      await assert.rejects(acceptTls(b, cartCertificate), { code: 'TLS_FAILED' });
      client.destroy();
    }
    const [a, b] = await tcpPair();
    a.on('error', () => {});
    a.write('GET / HTTP/1.1\r\n\r\n');
    await assert.rejects(acceptTls(b, cartCertificate), { code: 'TLS_FAILED' });
    a.destroy();
  });

  test('has a time limit, on both sides', async () => {
    for (const end of [
      (socket: Duplex) => acceptTls(socket, cartCertificate, { timeoutMs: 20 }),
      (socket: Duplex) => connectTls(socket, webCertificate, [cart], { timeoutMs: 20 }),
    ]) {
      const [a, b] = await tcpPair();
      await assert.rejects(end(b), /not finished within 20 ms/);
      a.destroy();
    }
  });

  test('reports a peer that hangs up', async () => {
    const [a, b] = await tcpPair();
    a.destroy();
    await assert.rejects(acceptTls(b, cartCertificate), { code: 'TLS_FAILED' });
  });

  test('leaves errors after the handshake to the socket’s own listeners', async () => {
    const [a, b] = await tcpPair();
    const [client, server] = await Promise.all([
      connectTls(a, webCertificate, [cart]),
      acceptTls(b, cartCertificate),
    ]);
    // Raw bytes amid the records: the server's TLS layer must speak up and close.
    const failed = once(server.socket, 'error');
    client.socket.on('error', () => {});
    server.socket.resume();
    a.write('this is no TLS record at all, and long enough to be read as one');
    await failed;
    client.socket.destroy();
    server.socket.destroy();
  });

  test('never resumes a session', async () => {
    const server = createServer(tlsServerOptions(cartCertificate), (socket) => socket.end('x'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    let session: Buffer | undefined;
    const reused: boolean[] = [];
    for (let i = 0; i < 2; i++) {
      const client = tlsConnect({
        ...tlsClientOptions(webCertificate, [cart]),
        port,
        host: '127.0.0.1',
        ...(session && { session }),
      });
      client.on('session', (fresh: Buffer) => (session = fresh));
      client.resume();
      await once(client, 'secureConnect');
      reused.push(client.isSessionReused());
      await once(client, 'close');
    }
    server.close();
    assert.deepEqual(reused, [false, false]);
  });

  test('works with tls.createServer and tls.connect by the options alone', async () => {
    const server = createServer(tlsServerOptions(cartCertificate));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const client = tlsConnect({ ...tlsClientOptions(webCertificate, [cart]), port, host: '127.0.0.1' });
    await once(client, 'secureConnect');
    const [socket] = await accepted;
    assert.equal(peerIdentity(socket), web);
    verifyPeerIdentity(client, [cart]);
    assert.throws(() => verifyPeerIdentity(client, [web]), { code: 'IDENTITY_MISMATCH' });
    client.destroy();
    server.close();
  });
});

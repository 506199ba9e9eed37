// TLS toward a server outside the mesh, as a DestinationRule asks for it, against a real server on loopback.
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { createServer, type TLSSocket } from 'node:tls';
import { CertificateAuthority, createCsr } from '#/identity/index.ts';
import { systemClock, type Ip } from '#/kit/index.ts';
import { identityOf, type OriginationTls } from '#/model/index.ts';
import { linuxKernel } from '#/sys/index.ts';
import type { SessionPool } from '#/tunnel/index.ts';
import type { WorkerContext } from '../context.ts';
import { Tunnels } from './open-channel.ts';

const hostname = 'api.example.com';

async function setup(t: TestContext) {
  const authority = await CertificateAuthority.selfSigned({ trustDomain: 'outside' });
  const stranger = await CertificateAuthority.selfSigned({ trustDomain: 'elsewhere' });
  const { certPem, keyPem } = await authority.issueServing({ dnsNames: [hostname] });
  const seen: { name: string | false; client: string | undefined }[] = [];
  const server = createServer(
    { cert: certPem, key: keyPem, ca: authority.rootsPem, requestCert: true, rejectUnauthorized: false },
    (socket: TLSSocket) => {
      const client = socket.authorized ? socket.getPeerCertificate().subjectaltname : undefined;
      seen.push({ name: (socket as { servername?: string | false }).servername ?? false, client });
      socket.on('error', () => {});
      socket.pipe(socket);
    },
  );
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const context = { kernel: linuxKernel(), clock: systemClock } as unknown as WorkerContext;
  // No tunnel is opened here.
  const tunnels = new Tunnels(context, {} as SessionPool);
  const tls = (changes: Partial<OriginationTls> = {}): OriginationTls => ({
    mode: 'SIMPLE',
    sni: hostname,
    subjectAltNames: [],
    caPem: authority.rootsPem,
    insecureSkipVerify: false,
    ...changes,
  });
  /** What comes back of `hello`, or why nothing does. */
  const ask = (wanted: OriginationTls): Promise<string> =>
    new Promise((resolve) => {
      const to = { address: { ip: '127.0.0.1' as Ip, port }, tls: wanted };
      tunnels.open(to, 10_000, (channel, failure) => {
        if (channel === undefined) {
          resolve(failure?.message ?? 'no reason');
          return;
        }
        channel.sink = {
          data: (chunk) => {
            resolve(chunk.toString());
            channel.reset(0);
          },
          ended: () => resolve('ended'),
          writable: () => {},
          closed: () => resolve('closed'),
        };
        channel.write(Buffer.from('hello'));
      });
    });
  return { authority, stranger, ask, tls, seen };
}

test('a server that its name and authority prove is spoken to, by its name', async (t) => {
  const { ask, tls, seen } = await setup(t);
  assert.equal(await ask(tls()), 'hello');
  assert.deepEqual(seen, [{ name: hostname, client: undefined }]);
});

test('another name, another authority: nothing is sent', async (t) => {
  const { ask, tls, stranger } = await setup(t);
  assert.match(await ask(tls({ sni: 'other.example.com' })), /does not match certificate's altnames/);
  assert.match(await ask(tls({ caPem: stranger.rootsPem })), /tls handshake error: .*certificate/);
  assert.match(await ask(tls({ caPem: '' })), /tls handshake error: .*certificate/, 'nobody is trusted');
  assert.equal(await ask(tls({ caPem: stranger.rootsPem, insecureSkipVerify: true })), 'hello');
});

test('names that are listed take the place of the host', async (t) => {
  const { ask, tls } = await setup(t);
  assert.equal(await ask(tls({ sni: 'other.example.com', subjectAltNames: [hostname] })), 'hello');
  assert.match(
    await ask(tls({ subjectAltNames: ['x.example.com'] })),
    /is for api\.example\.com, not for x\.example\.com/,
  );
});

test('MUTUAL shows a certificate of our own', async (t) => {
  const { ask, tls, seen, authority } = await setup(t);
  const identity = identityOf('outside', 'shop', 'egress');
  const { csrPem, keyPem } = await createCsr(identity);
  const { chain } = await authority.sign(csrPem, identity, 3600);
  assert.equal(await ask(tls({ mode: 'MUTUAL', certificatePem: chain.join('\n'), keyPem })), 'hello');
  assert.equal(seen[0]?.client, `URI:${identity}`);
});

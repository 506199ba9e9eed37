import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { silentLogger } from '#/kit/index.ts';
import { identityOf } from '#/model/index.ts';
import { CaClient, type CaClientOptions } from './ca-client.ts';
import { CertificateAuthority } from './certificate-authority.ts';
import { addCertificateService, type CertificateHandler } from './certificate-service.ts';
import { rootSource, tokenSource } from './control-channel.ts';
import { createCsr } from './csr.ts';
import { parseCertificate } from './certificate.ts';
import { RpcError } from './rpc.ts';

const web = identityOf('cluster.local', 'shop', 'web');

let mesh: CertificateAuthority;
let folder: string;
const servers: Server[] = [];
const clients: CaClient[] = [];
before(async () => {
  mesh = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
  folder = mkdtempSync(join(tmpdir(), 'aura-ca-client-'));
});
after(() => {
  for (const client of clients) client[Symbol.dispose]();
  for (const server of servers) server.forceShutdown();
  rmSync(folder, { recursive: true });
});

async function serve(handler: CertificateHandler, tls?: { dnsNames: string[]; ips?: string[] }, port = 0) {
  const server = new Server();
  servers.push(server);
  addCertificateService(server, handler, silentLogger);
  let credentials = ServerCredentials.createInsecure();
  if (tls) {
    const { certPem, keyPem } = await mesh.issueServing(tls);
    credentials = ServerCredentials.createSsl(null, [
      { cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) },
    ]);
  }
  return new Promise<{ server: Server; port: number }>((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
      error ? reject(error) : resolve({ server, port: bound }),
    ),
  );
}

function client(options: Partial<CaClientOptions> & { address: string }): CaClient {
  const made = new CaClient({
    rootCert: () => Buffer.from(mesh.rootsPem),
    token: () => 'a-token',
    clusterId: 'Kubernetes',
    deadlineMs: 3000,
    ...options,
  });
  clients.push(made);
  return made;
}

const signing: CertificateHandler = async ({ csr, ttlSeconds, impersonatedIdentity }) =>
  (await mesh.sign(csr, (impersonatedIdentity ?? web) as typeof web, ttlSeconds)).chain;

suite('the CA client', () => {
  test('sends the request, its headers and its metadata, and brings back the chain', async () => {
    const seen: unknown[] = [];
    const { port } = await serve((request, call) => {
      seen.push(request, call.header('authorization'), call.header('clusterid'), call.header('x-more'));
      return signing(request, call);
    });
    const ca = client({ address: `http://127.0.0.1:${port}`, metadata: { 'X-More': 'yes' } });
    const { csrPem } = await createCsr(web);
    const chain = await ca.createCertificate(csrPem, 3600, web);
    assert.equal(parseCertificate(chain[0] as string).identity, web);
    assert.equal(chain[1], mesh.rootsPem);
    assert.deepEqual(seen, [
      { csr: csrPem, ttlSeconds: 3600, impersonatedIdentity: web },
      'Bearer a-token',
      'Kubernetes',
      'yes',
    ]);
  });

  test('sends no authorization without a token', async () => {
    let seen: string | undefined = 'unset';
    const { port } = await serve(async (_request, call) => {
      seen = call.header('authorization');
      return Promise.resolve(['x']);
    });
    await client({ address: `http://127.0.0.1:${port}`, token: () => undefined }).createCertificate('', 0);
    assert.equal(seen, undefined);
  });

  test('reads the token anew for every call', async () => {
    const file = join(folder, 'token');
    const seen: (string | undefined)[] = [];
    const { port } = await serve(async (_request, call) => {
      seen.push(call.header('authorization'));
      return Promise.resolve(['x']);
    });
    const ca = client({ address: `http://127.0.0.1:${port}`, token: tokenSource(file) });
    for (const token of ['one\n', 'two\n']) {
      writeFileSync(file, token);
      await ca.createCertificate('', 0);
    }
    assert.deepEqual(seen, ['Bearer one', 'Bearer two']);
    rmSync(file);
    await assert.rejects(ca.createCertificate('', 0), /token .* cannot be read/);
  });

  test('over TLS takes a server only by the host’s name, or by the other name that is allowed', async () => {
    const { csrPem } = await createCsr(web);
    const named = await serve(signing, { dnsNames: ['istiod.istio-system.svc'] });
    const other = client({ address: `https://127.0.0.1:${named.port}` });
    await assert.rejects(other.createCertificate(csrPem, 60), /UNAVAILABLE|DEADLINE/);
    const allowed = client({
      address: `https://127.0.0.1:${named.port}`,
      altHostname: 'istiod.istio-system.svc',
    });
    assert.equal((await allowed.createCertificate(csrPem, 60)).length, 2);
    const addressed = await serve(signing, { dnsNames: [], ips: ['127.0.0.1'] });
    const plain = client({ address: `https://127.0.0.1:${addressed.port}` });
    assert.equal((await plain.createCertificate(csrPem, 60)).length, 2);
    const local = await serve(signing, { dnsNames: ['localhost'] });
    const byName = client({ address: `https://localhost:${local.port}` });
    assert.equal((await byName.createCertificate(csrPem, 60)).length, 2);
  });

  test('connects anew when its roots have changed', async () => {
    const file = join(folder, 'root.pem');
    const { csrPem } = await createCsr(web);
    const { port } = await serve(signing, { dnsNames: [], ips: ['127.0.0.1'] });
    const foreign = await CertificateAuthority.selfSigned({ trustDomain: 'x' });
    writeFileSync(file, foreign.rootsPem);
    const ca = client({ address: `https://127.0.0.1:${port}`, rootCert: rootSource(file) });
    await assert.rejects(ca.createCertificate(csrPem, 60), /UNAVAILABLE|DEADLINE/);
    writeFileSync(file, mesh.rootsPem);
    assert.equal((await ca.createCertificate(csrPem, 60)).length, 2);
    rmSync(file);
    await assert.rejects(ca.createCertificate(csrPem, 60), /root certificate .*root\.pem cannot be read/);
  });

  test('refuses an address that is none', async () => {
    for (const address of ['istiod:15012', 'ftp://x', 'https://'])
      await assert.rejects(client({ address }).createCertificate('', 0), /https:\/\/host:port is needed/);
  });

  test('gives up at its deadline when nobody answers', async () => {
    const { port } = await serve(() => new Promise(() => {}));
    const ca = client({ address: `http://127.0.0.1:${port}`, deadlineMs: 50 });
    await assert.rejects(ca.createCertificate('', 0), /DEADLINE_EXCEEDED/);
  });
});

test('a host that takes connections and says nothing gets a new one for the next call, and keeps none', async () => {
  const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const ca = client({
    address: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
    deadlineMs: 30,
  });
  for (let i = 0; i < 2; i++) {
    const accepted = once(silent, 'connection') as Promise<[Socket]>;
    await assert.rejects(ca.createCertificate('', 0), /DEADLINE_EXCEEDED/);
    const [socket] = await accepted;
    if (!socket.closed) await once(socket, 'close');
  }
  silent.close();
});

suite('the certificate service', () => {
  const answers = async (handler: CertificateHandler, csr = '', ttl = 0): Promise<unknown> => {
    const { port } = await serve(handler);
    return client({ address: `http://127.0.0.1:${port}` })
      .createCertificate(csr, ttl)
      .catch((error: unknown) => error);
  };
  const failed = (error: unknown, status: string, text: RegExp) => {
    assert.ok(error instanceof RpcError, String(error));
    assert.equal(error.status, status);
    assert.match(error.message, text);
  };

  test('passes on a refusal with its status', async () => {
    const error = await answers(() =>
      Promise.reject(new RpcError('UNAUTHENTICATED', 'request authenticate failure')),
    );
    failed(error, 'UNAUTHENTICATED', /authenticate failure/);
  });

  test('says InvalidArgument for a bad request and for a TTL that is too long', async () => {
    failed(await answers(signing, 'no csr', 60), 'INVALID_ARGUMENT', /request cannot be read/);
    const { csrPem } = await createCsr(web);
    failed(await answers(signing, csrPem, 91 * 86_400), 'INVALID_ARGUMENT', /greater than the maximum/);
  });

  test('keeps the text of other failures to itself', async () => {
    failed(await answers(() => Promise.reject(new Error('secret'))), 'INTERNAL', /INTERNAL: internal error$/);
  });
});

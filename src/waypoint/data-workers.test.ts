// Real threads: what a worker serves before it is configured, and that one that dies comes back with all that it had.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp, createServer, type AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { assembleCertificate, CertificateAuthority, connectTls, createCsr } from '#/identity/index.ts';
import type { Certificate } from '#/identity/index.ts';
import { createLogger, systemClock } from '#/kit/index.ts';
import { identityOf, type Identity, type WaypointResource } from '#/model/index.ts';
import { MeshStore } from '#/state/index.ts';
import { connect, defaultWindows, hboneClient } from '#/tunnel/index.ts';
import { aService, gateway } from '../../test/mesh-records.ts';
import { parseWaypointConfig } from './config.ts';
import { DataWorkers } from './data-workers.ts';

const own = identityOf('cluster.local', 'ns', 'waypoint');
const client = identityOf('cluster.local', 'ns', 'client');

const route: WaypointResource = {
  kind: 'provider',
  name: 'logs',
  type: 'file-access-log',
  path: '/dev/stdout',
};

async function until(what: string, look: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await look())) {
    if (Date.now() > deadline) assert.fail(`${what}: not within 30 s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

let authority: CertificateAuthority;
let clientCertificate: Certificate;
let ownCertificate: Certificate;
async function issue(identity: Identity): Promise<Certificate> {
  const { csrPem, keyPem } = await createCsr(identity);
  const { chain } = await authority.sign(csrPem, identity, 3600);
  return assembleCertificate(identity, keyPem, chain);
}

let port = 0;
const lines: string[] = [];
let workers: DataWorkers;
before(async () => {
  authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
  clientCertificate = await issue(client);
  ownCertificate = await issue(own);
  port = await freePort();
  const config = parseWaypointConfig({
    GATEWAY_NAME: 'waypoint',
    POD_NAME: 'waypoint-1',
    POD_NAMESPACE: 'ns',
    SERVICE_ACCOUNT: 'waypoint',
    INSTANCE_IP: '127.0.0.1',
    HBONE_PORT: String(port),
    WAYPOINT_WORKER_THREADS: '1',
  });
  const store = new MeshStore();
  const waypoint = gateway('ns/waypoint.ns.svc.cluster.local');
  store.apply({
    addresses: [
      aService('waypoint.ns.svc.cluster.local', { addresses: ['10.9.0.1'] }),
      aService('app.ns.svc.cluster.local', { addresses: ['10.9.0.2'], waypoint }),
      aService('other.ns.svc.cluster.local', { addresses: ['10.9.0.3'] }),
    ],
  });
  const write = (text: string): void => void lines.push(...text.split('\n'));
  workers = new DataWorkers({
    config,
    store,
    clock: systemClock,
    log: createLogger({ level: () => 'info', format: 'plain', write }, 'test'),
    write,
    spans: () => {},
    needCertificate: () => workers.certificate(ownCertificate),
  });
});
after(() => workers.close(0));

/** What a CONNECT is answered, or why there is none. */
async function ask(authorityOf: string, method = 'CONNECT'): Promise<string> {
  const raw = connectTcp(port, '127.0.0.1');
  try {
    await once(raw, 'connect');
    const { socket } = await connectTls(raw, clientCertificate, [own]);
    const connection = hboneClient(socket, defaultWindows, { closed: () => {} });
    return await new Promise<string>((resolve) => {
      const outcome = {
        opened: () => {
          resolve('open');
          return undefined;
        },
        refused: (status: string) => resolve(status),
        failed: ({ message }: { message: string }) => resolve(message),
      };
      if (method === 'CONNECT') connect(connection, authorityOf, [], outcome);
      else
        connection.session.request([
          [':method', method],
          [':scheme', 'http'],
          [':path', '/'],
          [':authority', authorityOf],
        ]).sink = {
          headers: (headers) => resolve(headers.find(([name]) => name === ':status')?.[1] ?? ''),
          data: () => {},
          ended: () => {},
          writable: () => {},
          closed: (reason) => resolve(reason?.message ?? 'closed'),
        };
    }).finally(() => connection.destroy('done'));
  } catch (error) {
    return String(error);
  } finally {
    raw.destroy();
  }
}

const told = (...words: string[]): Promise<void> =>
  until(words.join(' '), async () => {
    // A report makes the thread write what it has gathered.
    await workers.reports();
    return lines.some((line) => words.every((word) => line.includes(word)));
  });

test('nobody is served before the control plane has told what applies', async () => {
  assert.equal(await workers.listen(), port);
  assert.equal(await ask('10.9.0.2:80'), '503');
  await told('connection failed', '10.9.0.2:80', 'the control plane has not told yet');
});

test('only what is bound here is served, to clients of the mesh, by CONNECT', async () => {
  workers.resources({ upserts: [route], removed: [] });
  workers.configured();
  await until('it is served', async () => (await ask('10.9.0.2:80')) === 'open');
  const refused = [
    ['10.9.0.3:80', '404', 'other.ns.svc.cluster.local is not bound to this waypoint'],
    ['10.9.0.2:81', '404', 'has no port 81'],
    ['10.9.9.9:80', '404', 'no service and no workload has the address 10.9.9.9'],
    ['nobody.example:80', '404', 'no service has the hostname nobody.example'],
    ['10.9.0.2', '400', 'no valid authority'],
    ['10.9.0.2:0', '400', 'no valid authority'],
    ['127.0.0.1:15000', '404', 'no service and no workload has the address 127.0.0.1'],
  ] as const;
  for (const [authorityOf, status, reason] of refused) {
    assert.equal(await ask(authorityOf), status, authorityOf);
    await told('connection failed', 'src.identity=spiffe://cluster.local/ns/ns/sa/client', reason);
  }
  assert.equal(await ask('10.9.0.2:80', 'GET'), '404');
});

test('a worker that dies is started again, with its configuration, certificate and port', async () => {
  // What no message is like: it throws in the thread, and nobody there catches it.
  workers.certificate(undefined as unknown as Certificate);
  await until('the crash is counted', () => workers.crashes === 1);
  assert.ok(lines.some((line) => line.includes('a data worker has failed')));
  workers.certificate(ownCertificate);
  await until('it serves again', async () => (await ask('10.9.0.2:80')) === 'open');
  assert.equal(await ask('10.9.0.3:80'), '404');
  assert.equal(workers.crashes, 1);
  assert.deepEqual([...workers.allResources()], [route]);
});

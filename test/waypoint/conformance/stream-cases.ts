// Routes of connections: TCPRoute by weight, TLSRoute by the name that the client asks for.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { CertificateAuthority } from '#/identity/index.ts';
import { mesh, route, service } from './backends.ts';
import type { ConformanceLab } from './conformance-lab.ts';
import type { Feature } from './feature.ts';

const tlsService = (name: string, selector: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${mesh} }
spec: { selector: { ${selector} }, ports: [{ name: tls, port: 443, targetPort: 8443, appProtocol: tls }] }
---`;

const tlsRoute = (name: string, hostnames: string, backend: string): string =>
  route(
    'TLSRoute',
    name,
    ['tls'],
    `hostnames: [${hostnames}]\nrules:\n  - backendRefs: [{ name: ${backend}, port: 443 }]`,
  );

/** Ends TLS itself and says who it is and which name was asked for. */
const tlsServer = `
const { createServer } = require('node:tls');
const { KEY: key, CERT: cert, NAME } = process.env;
createServer({ key, cert }, (socket) => {
  socket.on('error', () => {});
  socket.end(NAME + ' ' + socket.servername);
}).listen(8443, '::');
`;

const deployment = (version: string, key: string, cert: string): unknown => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: `tls-${version}`, namespace: mesh },
  spec: {
    selector: { matchLabels: { app: 'tls', version } },
    template: {
      metadata: { labels: { app: 'tls', version } },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'tls',
            image: 'any/thing',
            command: [process.execPath, '-e', tlsServer],
            env: [
              { name: 'KEY', value: key },
              { name: 'CERT', value: cert },
              { name: 'NAME', value: version },
            ],
            readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 },
          },
        ],
      },
    },
  },
});

async function startTlsServers({ lab }: ConformanceLab): Promise<void> {
  const { files } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
  for (const version of ['v1', 'v2'])
    await lab.apply(JSON.stringify(deployment(version, files.caKeyPem, files.caCertPem)));
  for (const version of ['v1', 'v2'])
    await lab.mustKubectl(['rollout', 'status', '-n', mesh, `deploy/tls-${version}`, '--timeout=60s']);
}

export const streamFeatures: readonly Feature[] = [
  {
    name: 'TCPRoute',
    manifest:
      service('tcp') +
      route(
        'TCPRoute',
        'tcp',
        [`{ group: '', kind: Service, name: tcp, port: 9000 }`],
        'rules:\n  - backendRefs: [{ name: echo-v1, port: 9000, weight: 3 }, { name: echo-v2, port: 9000 }]',
      ) +
      service('tcp-ports') +
      route(
        'TCPRoute',
        'tcp-ports',
        [`{ group: '', kind: Service, name: tcp-ports, port: 9090 }`],
        'rules:\n  - backendRefs: [{ name: nosuch, port: 9000 }]',
      ) +
      route(
        'TCPRoute',
        'tcp-port-by-name',
        [`{ group: '', kind: Service, name: tcp-ports, sectionName: tcp }`],
        'rules:\n  - backendRefs: [{ name: echo-v2, port: 9000 }]',
      ) +
      service('tcp-broken') +
      route(
        'TCPRoute',
        'tcp-broken',
        ['tcp-broken'],
        'rules:\n  - backendRefs: [{ name: nosuch, port: 9000 }]',
      ),
    tests(lab) {
      test('connections are shared by weight', async () => {
        await lab.expect({ url: 'http://tcp:9000', protocol: 'tcp' }, { status: 0 });
        const answers = await lab.all({ url: 'http://tcp:9000', protocol: 'tcp', count: 200 });
        const first = answers.filter(({ body }) => body.startsWith('echo-v1-')).length;
        const second = answers.filter(({ body }) => body.startsWith('echo-v2-')).length;
        assert.equal(first + second, answers.length);
        assert.ok(Math.abs(first / answers.length - 0.75) < 0.16, `${first} and ${second}`);
      });

      test('a route for one port, by its name, and one for another port', async () => {
        await lab.expect({ url: 'http://tcp-ports:9000', protocol: 'tcp' }, { status: 0 }, ({ body }) =>
          assert.match(body, /^echo-v2-/),
        );
      });

      test('a backend that does not exist takes no connection, and the status says so', async () => {
        await lab.expect({ url: 'http://tcp-broken:9000', protocol: 'tcp' }, { status: -1 });
        await lab.expectStatus('TCPRoute', 'tcp-broken', 'tcp-broken', {
          Accepted: 'True Accepted',
          ResolvedRefs: 'False BackendNotFound',
        });
        await lab.expectStatus('TCPRoute', 'tcp', 'tcp', { ResolvedRefs: 'True ResolvedRefs' });
        assert.equal((await lab.get('TCPRoute', 'tcp', mesh)).status?.parents?.length, 1);
      });
    },
  },
  {
    name: 'TLSRoute',
    manifest: [
      tlsService('tls', 'app: tls'),
      tlsService('tls-v1', 'app: tls, version: v1'),
      tlsService('tls-v2', 'app: tls, version: v2'),
      tlsService('tls-free', 'app: tls, version: v1'),
      tlsRoute('tls-one', 'one.example', 'tls-v1'),
      tlsRoute('tls-broken', 'broken.example', 'nosuch'),
      tlsRoute('tls-wild', '"*.wild.example", one.wild.example', 'tls-v2'),
    ].join(''),
    tests(lab) {
      before(() => startTlsServers(lab));
      const hello = (host: string, service = 'tls') => ({
        url: `http://${service}:443`,
        protocol: 'tls' as const,
        headers: { host },
      });

      test('the name that is asked for decides, and TLS ends at the backend', async () => {
        for (const [host, version] of [
          ['one.example', 'v1'],
          ['ONE.example', 'v1'],
          ['any.wild.example', 'v2'],
          ['one.wild.example', 'v2'],
        ] as const)
          await lab.expect(hello(host), { status: 0, body: `${version} ${host}` });
      });

      test('a name that no route has is refused; without routes every name passes', async () => {
        await lab.expect(hello('two.example'), { status: -1 });
        await lab.expect(hello('wild.example'), { status: -1 });
        await lab.expect(hello('broken.example'), { status: -1 });
        await lab.expect(hello('two.example', 'tls-free'), { status: 0, body: 'v1 two.example' });
      });

      test('the status says what is taken, and what is not found', async () => {
        await lab.expectStatus('TLSRoute', 'tls-one', 'tls', {
          Accepted: 'True Accepted',
          ResolvedRefs: 'True ResolvedRefs',
        });
        await lab.expectStatus('TLSRoute', 'tls-broken', 'tls', {
          Accepted: 'True Accepted',
          ResolvedRefs: 'False BackendNotFound',
        });
      });
    },
  },
];

// A waypoint is a pod like any other: made from its Gateway, run by the lab's kubelet with what the program needs, not
// captured, and gone with its Gateway. What runs in it here is a stand-in that says it is ready and tells what it got.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gateways, pods, services, type Pod } from '#/kube/index.ts';
import { eventually, TestLab } from './test-lab.ts';

const standIn = `
const { readFileSync } = require('node:fs');
require('node:http').createServer((request, response) => response.end(JSON.stringify({
  argv: process.argv.slice(1),
  env: process.env,
  token: readFileSync('/var/run/secrets/tokens/istio-token', 'utf8'),
  roots: readFileSync('/var/run/secrets/istio/root-cert.pem', 'utf8'),
  labels: readFileSync('/etc/istio/pod/labels', 'utf8'),
}))).listen(15021);
process.on('SIGTERM', () => process.exit(0));
`;

const defaults = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: {
    name: 'stand-in',
    namespace: 'istio-system',
    labels: { 'gateway.istio.io/defaults-for-class': 'istio-waypoint' },
  },
  data: {
    deployment: JSON.stringify({
      spec: {
        template: {
          spec: { containers: [{ name: 'istio-proxy', command: [process.execPath, '-e', standIn, 'x'] }] },
        },
      },
    }),
  },
};

const shop = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
`;

interface Told {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly token: string;
  readonly roots: string;
  readonly labels: string;
}

describe('waypoints in a lab', () => {
  const lab = new TestLab();
  before(async () => {
    await lab.up('--nodes', '1');
    await lab.apply(JSON.stringify(defaults));
    await lab.apply(shop);
  });
  after(() => lab[Symbol.asyncDispose]());

  const waypointPods = async (): Promise<readonly Pod[]> =>
    (
      await lab.client.list(pods, {
        namespace: 'shop',
        labelSelector: 'gateway.networking.k8s.io/gateway-name=waypoint',
      })
    ).items;

  test('apply waits for its pod, which has what the program needs', async () => {
    const said = await lab.must('waypoint', 'apply', '-n', 'shop', '--enroll-namespace', '--wait');
    assert.equal(
      said,
      '✅ waypoint shop/waypoint applied\n✅ waypoint shop/waypoint is ready!\n✅ namespace shop labeled with "istio.io/use-waypoint: waypoint"\n',
    );
    const [pod] = await waypointPods();
    assert.ok(pod !== undefined);
    assert.equal(pod.metadata.annotations?.['ambient.istio.io/redirection'], undefined, 'it is not captured');
    const url = 'http://127.0.0.1:15021/healthz/ready';
    const told = (await lab.curl(`-n shop ${pod.metadata.name}`, url)) as unknown as Told;
    assert.deepEqual(told.argv.slice(-1), ['waypoint-proxy']);
    const wanted = {
      POD_NAME: pod.metadata.name,
      POD_NAMESPACE: 'shop',
      INSTANCE_IP: pod.status?.podIP,
      SERVICE_ACCOUNT: 'waypoint',
      GATEWAY_NAME: 'waypoint',
      XDS_ADDRESS: 'https://istiod.istio-system.svc:15012',
      CA_ADDRESS: 'https://istiod.istio-system.svc:15012',
      TRUST_DOMAIN: 'cluster.local',
      ISTIO_META_WORKLOAD_NAME: 'waypoint',
      ISTIO_CPU_LIMIT: '2',
      ISTIO_MEMORY_LIMIT: String(1 << 30),
    };
    for (const [name, value] of Object.entries(wanted)) assert.equal(told.env[name], value, name);
    const claims = JSON.parse(Buffer.from(told.token.split('.')[1] ?? '', 'base64url').toString()) as {
      aud: unknown;
      sub: string;
    };
    assert.deepEqual([claims.aud, claims.sub], [['istio-ca'], 'system:serviceaccount:shop:waypoint']);
    assert.match(told.roots, /BEGIN CERTIFICATE/);
    assert.match(told.labels, /istio.io\/dataplane-mode="none"/);
  });

  test('its Service is bound to by those who use it', async () => {
    const service = await lab.client.get(services, 'shop', 'waypoint');
    const gateway = await lab.client.get(gateways, 'shop', 'waypoint');
    const { addresses } = gateway['status'] as { addresses: readonly { value: string }[] };
    assert.deepEqual(
      addresses.map(({ value }) => value),
      ['waypoint.shop.svc.cluster.local', ...(service.spec.clusterIPs ?? [])],
    );
    await eventually('web is bound', async () => {
      const { status } = await lab.client.get(services, 'shop', 'web');
      return status?.conditions?.some(
        ({ type, status: holds }) => type === 'istio.io/WaypointBound' && holds === 'True',
      );
    });
    assert.match(
      await lab.must('describe', 'service', 'shop/web'),
      /bound to waypoint\.shop\.svc\.cluster\.local, 1 ready pod/,
    );
    assert.match(await lab.must('waypoint', 'list', '-A'), /shop +waypoint +default +none +True/);
  });

  test('lab up -f waits for a waypoint, too', async () => {
    const gateway = await lab.must('waypoint', 'generate', '-n', 'shop', '--name', 'second');
    await lab.up('-f', lab.file('gateway.yaml', gateway));
    assert.match(await lab.must('waypoint', 'list', '-n', 'shop'), /second +default +none +True/);
    await lab.must('waypoint', 'delete', 'second', '-n', 'shop');
  });

  test('it goes with its Gateway', async () => {
    assert.equal(
      await lab.must('waypoint', 'delete', 'waypoint', '-n', 'shop'),
      'waypoint shop/waypoint deleted\n',
    );
    await eventually('the pod is gone', async () => (await waypointPods()).length === 0, 60_000);
    await eventually(
      'the Service is gone',
      async () => (await lab.client.find(services, 'shop', 'waypoint')) === undefined,
    );
  });
});

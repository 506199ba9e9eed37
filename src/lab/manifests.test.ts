import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressPlan } from './address-plan.ts';
import { apiServiceManifests, dnsManifests, type Manifest } from './manifests.ts';
import { meshManifests } from './mesh-manifests.ts';

const plan = addressPlan(3, ['IPv4', 'IPv6']);

interface Template {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly Container[]; readonly volumes?: unknown };
    };
  };
}
interface Container {
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[];
}

const ztunnelOf = (manifests: readonly Manifest[]): Container => {
  const set = manifests.find(({ kind, metadata }) => kind === 'DaemonSet' && metadata.name === 'ztunnel');
  return (set as unknown as Template).spec.template.spec.containers[0] as Container;
};
const envOf = (container: Container): Record<string, string | undefined> =>
  Object.fromEntries(
    container.env.map(({ name, value, valueFrom }) => [name, value ?? JSON.stringify(valueFrom)]),
  );

test('the mesh consists of the objects that Istio’s users know', () => {
  const manifests = meshManifests({ enabled: true }, plan, '/aura');
  const names = manifests.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
  for (const name of [
    'Namespace/istio-system',
    'Deployment/istiod',
    'Service/istiod',
    'DaemonSet/istio-cni-node',
    'DaemonSet/ztunnel',
    'ServiceAccount/ztunnel',
  ])
    assert.ok(names.includes(name), name);
});

test('ztunnel has upstream’s environment', () => {
  const ztunnel = ztunnelOf(meshManifests({ enabled: true }, plan, '/aura'));
  assert.deepEqual(ztunnel.command, ['/aura']);
  const env = envOf(ztunnel);
  assert.equal(env['XDS_ADDRESS'], 'https://istiod.istio-system.svc:15012');
  assert.equal(env['CA_ADDRESS'], env['XDS_ADDRESS']);
  assert.equal(env['XDS_ROOT_CA'], '/var/run/secrets/istio/root-cert.pem');
  assert.equal(env['AUTH_TOKEN'], '/var/run/secrets/tokens/istio-token');
  assert.equal(env['INPOD_UDS'], '/var/run/ztunnel/ztunnel.sock');
  assert.match(env['INSTANCE_IP'] ?? '', /status\.podIP/);
});

test('another ztunnel, another control plane, another root', () => {
  const mesh = { enabled: true, ztunnel: '/opt/z', xdsAddress: 'https://x:1', caAddress: 'https://c:2' };
  const manifests = meshManifests(mesh, plan, '/aura', 'PEM');
  const ztunnel = ztunnelOf(manifests);
  assert.deepEqual([ztunnel.command, ztunnel.args], [['/opt/z'], ['proxy', 'ztunnel']]);
  const env = envOf(ztunnel);
  assert.deepEqual([env['XDS_ADDRESS'], env['CA_ADDRESS']], ['https://x:1', 'https://c:2']);
  assert.equal(env['CA_ROOT_CA'], '/var/run/secrets/istio-foreign/root-cert.pem');
  const root = manifests.find(({ metadata }) => metadata.name === 'aura-lab-foreign-root');
  assert.deepEqual(root?.['data'], { 'root-cert.pem': 'PEM' });
});

test('DNS and the API have their usual addresses', () => {
  const service = (manifests: readonly Manifest[]): Record<string, unknown> =>
    manifests.find(({ kind }) => kind === 'Service')?.['spec'] as Record<string, unknown>;
  assert.deepEqual(service(dnsManifests(plan))['clusterIPs'], ['10.96.0.10', 'fd00:10:96::a']);
  assert.equal(service(apiServiceManifests(plan))['clusterIP'], '10.96.0.1');
});

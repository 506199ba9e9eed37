import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Ip } from '#/kit/index.ts';
import {
  defaultLoadBalancing,
  emptyMatch,
  type Policy,
  type PolicyMatch,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { MeshStore, type MeshBatch } from '#/state/index.ts';
import { configDump } from './config-dump.ts';
import { parseZtunnelConfig } from './config.ts';
import type { ConnectionReport } from './messages.ts';

const workload: Workload = {
  kind: 'workload',
  uid: 'Kubernetes//Pod/shop/web-1',
  name: 'web-1',
  namespace: 'shop',
  addresses: ['10.0.0.1' as Ip],
  hostname: '',
  network: '',
  protocol: 'HBONE',
  networkMode: 'Standard',
  trustDomain: 'cluster.local',
  serviceAccount: 'web',
  node: 'a',
  canonicalName: 'web',
  canonicalRevision: 'latest',
  workloadType: 'pod',
  workloadName: 'web-1',
  nativeTunnel: false,
  authorizationPolicies: [],
  status: 'Healthy',
  clusterId: 'Kubernetes',
  locality: { region: '', zone: '', subzone: '' },
  services: {},
  capacity: 1,
};

const service: Service = {
  kind: 'service',
  name: 'web',
  namespace: 'shop',
  hostname: 'web.shop.svc.cluster.local',
  addresses: [{ network: '', ip: '10.96.0.5' as Ip }],
  cidrAddresses: [],
  ports: [{ servicePort: 80, targetPort: 0, appProtocol: 'UNKNOWN' }],
  subjectAltNames: [],
  ipFamilies: 'IPV4_ONLY',
  loadBalancing: defaultLoadBalancing,
  canonical: true,
  visibility: 'PUBLIC',
  ingressUseWaypoint: false,
  weightedWaypoints: [],
};

interface Shown {
  readonly workloads: readonly unknown[];
  readonly services: readonly Record<string, unknown>[];
  readonly policies: readonly { readonly rules: readonly unknown[] }[];
  readonly workloadState: Record<string, { readonly connections: unknown }>;
  readonly config: Record<string, unknown>;
}

function dump(
  batch: MeshBatch,
  connections: readonly ConnectionReport[] = [],
  env: Record<string, string> = {},
): Shown {
  const store = new MeshStore();
  store.apply(batch);
  const shown = configDump({
    config: parseZtunnelConfig(env),
    version: '1.2.3',
    store,
    pods: [
      {
        uid: 'p',
        info: { name: 'web-1', namespace: 'shop', serviceAccount: 'web' },
        netns: { fd: 0, inode: 0n, dev: 0n, label: 'test', [Symbol.dispose]: () => undefined },
        state: 'Up',
      },
    ],
    connections,
    certificates: [],
  });
  // As it goes over the wire.
  return JSON.parse(JSON.stringify(shown)) as Shown;
}

suite('config_dump, in the form that istioctl reads', () => {
  test('a workload: what is empty is left out', () => {
    const { workloads } = dump({ addresses: [workload] });
    assert.deepEqual(workloads, [
      {
        workloadIps: ['10.0.0.1'],
        protocol: 'HBONE',
        networkMode: 'Standard',
        uid: 'Kubernetes//Pod/shop/web-1',
        name: 'web-1',
        namespace: 'shop',
        trustDomain: 'cluster.local',
        serviceAccount: 'web',
        workloadName: 'web-1',
        workloadType: 'pod',
        canonicalName: 'web',
        canonicalRevision: 'latest',
        node: 'a',
        status: 'Healthy',
        clusterId: 'Kubernetes',
        capacity: 1,
      },
    ]);
  });

  test('a workload with all there can be', () => {
    const waypoint = {
      destination: { kind: 'hostname', namespace: 'shop', hostname: 'wp.shop.svc.cluster.local' },
      hboneMtlsPort: 15008,
    } as const;
    const { workloads } = dump({
      addresses: [
        {
          ...workload,
          waypoint,
          networkGateway: {
            destination: { kind: 'address', network: 'far', ip: '1.2.3.4' as Ip },
            hboneMtlsPort: 15008,
          },
          network: 'near',
          nativeTunnel: true,
          applicationTunnel: { protocol: 'PROXY', port: 0 },
          authorizationPolicies: ['shop/deny'],
          locality: { region: 'r', zone: '', subzone: '' },
          services: { 'shop/web.shop.svc.cluster.local': [{ servicePort: 80, targetPort: 8080 }] },
        },
      ],
    });
    const [shown] = workloads as [Record<string, unknown>];
    assert.deepEqual(shown.waypoint, { destination: 'shop/wp.shop.svc.cluster.local', hboneMtlsPort: 15008 });
    assert.deepEqual(shown.networkGateway, { destination: 'far/1.2.3.4', hboneMtlsPort: 15008 });
    assert.equal(shown.network, 'near');
    assert.equal(shown.nativeTunnel, true);
    assert.deepEqual(shown.applicationTunnel, { protocol: 'PROXY', port: null });
    assert.deepEqual(shown.authorizationPolicies, ['shop/deny']);
    assert.deepEqual(shown.locality, { region: 'r' });
    assert.deepEqual(shown.services, ['shop/web.shop.svc.cluster.local']);
  });

  test('services: upstream’s names of families, visibility and load balancing', () => {
    const shown = (fields: Partial<Service>) => dump({ addresses: [{ ...service, ...fields }] }).services[0];
    assert.deepEqual(shown({}), {
      name: 'web',
      namespace: 'shop',
      hostname: 'web.shop.svc.cluster.local',
      vips: ['/10.96.0.5'],
      ports: { '80': 0 },
      endpoints: {},
      subjectAltNames: [],
      ipFamilies: 'IPv4',
      canonical: true,
      visibility: 'Public',
    });
    const other = shown({
      ipFamilies: 'DUAL',
      visibility: 'NAMESPACE',
      cidrAddresses: [{ network: 'n', base: '10.1.0.0' as Ip, length: 16 }],
      loadBalancing: {
        mode: 'FAILOVER',
        routingPreference: ['NETWORK', 'SUBZONE'],
        healthPolicy: 'ALLOW_ALL',
      },
    });
    assert.equal(other?.ipFamilies, 'Dual');
    assert.equal(other.visibility, 'Namespace');
    assert.deepEqual(other.cidrVips, ['n/10.1.0.0/16']);
    assert.deepEqual(other.loadBalancer, {
      mode: 'Failover',
      routingPreferences: ['Network', 'Subzone'],
      healthPolicy: 'AllowAll',
    });
    assert.equal(shown({ ipFamilies: 'AUTOMATIC' })?.ipFamilies, undefined);
    assert.deepEqual(
      shown({ loadBalancing: { ...defaultLoadBalancing, healthPolicy: 'ALLOW_ALL' } })?.loadBalancer,
      { mode: 'Standard', routingPreferences: [], healthPolicy: 'AllowAll' },
    );
  });

  test('policies: each kind of string match is an object', () => {
    const match: PolicyMatch = {
      ...emptyMatch,
      principals: [
        { kind: 'presence' },
        { kind: 'exact', value: 'a' },
        { kind: 'prefix', value: 'b' },
        { kind: 'suffix', value: 'c' },
      ],
      serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }],
      destinationPorts: [80],
    };
    const policy: Policy = {
      name: 'deny',
      namespace: 'shop',
      scope: 'WorkloadSelector',
      action: 'Deny',
      rules: [{ clauses: [{ matches: [match] }] }],
      dryRun: false,
    };
    assert.deepEqual(dump({ policies: [policy] }).policies, [
      {
        ...policy,
        rules: [
          [
            [
              {
                principals: [{ Presence: [] }, { Exact: 'a' }, { Prefix: 'b' }, { Suffix: 'c' }],
                serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }],
                destinationPorts: [80],
              },
            ],
          ],
        ],
      },
    ]);
  });

  test('connections of a pod', () => {
    const connection = { pod: 'p', src: '10.0.0.9:1', actualDst: '10.0.0.1:80', protocol: 'HBONE' } as const;
    const { workloadState } = dump({}, [
      { ...connection, direction: 'inbound', originalDst: null },
      { ...connection, direction: 'outbound', originalDst: '10.96.0.5:80' },
      { ...connection, pod: 'other', direction: 'inbound', originalDst: null },
    ]);
    const { pod: _, ...shown } = connection;
    assert.deepEqual(workloadState.p?.connections, {
      inbound: [{ ...shown, originalDst: null }],
      outbound: [{ ...shown, originalDst: '10.96.0.5:80' }],
    });
  });

  test('the configuration has upstream’s keys, and no secret', () => {
    const { config } = dump({}, [], {
      AUTH_TOKEN: 'secret-token',
      XDS_HEADER_X_KEY: 'secret-header',
      XDS_ROOT_CA: '-----BEGIN CERTIFICATE-----',
      CA_ROOT_CA: 'SYSTEM',
      NODE_NAME: 'a',
      SERVICE_ACCOUNT: 'ztunnel',
      POD_NAMESPACE: 'istio-system',
      IPV6_ENABLED: 'false',
      KEEPALIVE_ENABLED: 'false',
    });
    assert.doesNotMatch(JSON.stringify(config), /secret-/);
    assert.equal(config.inboundAddr, '0.0.0.0:15008');
    assert.deepEqual(config.adminAddr, { Localhost: [false, 15000] });
    assert.deepEqual(config.poolUnusedReleaseTimeout, { secs: 300, nanos: 0 });
    assert.equal(config.localNode, 'a');
    assert.equal(config.caRootCert, 'Default');
    assert.equal(config.ztunnelIdentity, 'spiffe://cluster.local/ns/istio-system/sa/ztunnel');
    assert.deepEqual(config.socketConfig, { keepaliveEnabled: false, userTimeoutEnabled: false });
    assert.equal(config.requireOriginalSource, null);
  });
});

// Field numbers are pinned by bytes that were written by hand, not by what the generated code makes of them.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Service, Workload } from '#/model/index.ts';
import { aService, aWorkload } from '../../test/mesh-records.ts';
import { decodeAddress, encodeAddress, resourceName } from './address.ts';
import { WireError } from './wire-error.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

/** A length-delimited field around hex, for messages under 128 bytes. */
function wrap(tag: string, hex: string): string {
  const length = bytes(hex).length;
  assert.ok(length < 128);
  return `${tag} ${length.toString(16).padStart(2, '0')} ${hex}`;
}
const workloadOf = (hex: string): Buffer => bytes(wrap('0a', hex));
const serviceOf = (hex: string): Buffer => bytes(wrap('12', hex));

const uid = 'a2 01 01 75';
const gateway = '12 09 0a 01 6e 12 04 0a 00 00 02 18 a0 75';
const viaName = '0a 06 0a 01 6e 12 01 68 18 a0 75';
const gatewayModel = {
  destination: { kind: 'address', network: 'n', ip: '10.0.0.2' },
  hboneMtlsPort: 15008,
} as Workload['waypoint'] & {};
const byName = {
  destination: { kind: 'hostname', namespace: 'n', hostname: 'h' },
  hboneMtlsPort: 15008,
} as const;
const v6 = 'fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01';

const bareWorkload = aWorkload('', {
  uid: 'u',
  namespace: '',
  node: '',
  trustDomain: 'cluster.local',
  serviceAccount: 'default',
  clusterId: 'Kubernetes',
});

const workloadFields: readonly [field: string, hex: string, Partial<Workload>][] = [
  ['name 1', '0a 01 61', { name: 'a' }],
  ['namespace 2', '12 01 62', { namespace: 'b' }],
  ['addresses 3', `1a 04 0a 00 00 01 1a 10 ${v6}`, { addresses: ['10.0.0.1', 'fd00::1'] as never }],
  ['network 4', '22 01 6e', { network: 'n' }],
  ['tunnel_protocol 5', '28 01', { protocol: 'HBONE' }],
  ['trust_domain 6', '32 02 74 64', { trustDomain: 'td' }],
  ['service_account 7', '3a 02 73 61', { serviceAccount: 'sa' }],
  ['waypoint 8 (address)', wrap('42', gateway), { waypoint: gatewayModel }],
  ['waypoint 8 (hostname)', wrap('42', viaName), { waypoint: byName }],
  ['node 9', '4a 01 6e', { node: 'n' }],
  ['canonical_name 10', '52 01 63', { canonicalName: 'c' }],
  ['canonical_revision 11', '5a 01 72', { canonicalRevision: 'r' }],
  ['workload_type 12', '60 02', { workloadType: 'pod' }],
  ['workload_type 12, all', '60 01', { workloadType: 'cronjob' }],
  ['workload_type 12, last', '60 03', { workloadType: 'job' }],
  ['workload_name 13', '6a 01 77', { workloadName: 'w' }],
  ['native_tunnel 14', '70 01', { nativeTunnel: true }],
  ['authorization_policies 16', '82 01 03 61 2f 62', { authorizationPolicies: ['a/b'] }],
  ['status 17', '88 01 01', { status: 'Unhealthy' }],
  ['cluster_id 18', '92 01 01 63', { clusterId: 'c' }],
  ['network_gateway 19', wrap('9a 01', viaName), { networkGateway: byName }],
  ['hostname 21', 'aa 01 01 68', { hostname: 'h' }],
  [
    'services 22',
    'b2 01 0e 0a 03 6e 2f 68 12 07 0a 05 08 50 10 90 3f',
    { services: { 'n/h': [{ servicePort: 80, targetPort: 8080 }] } },
  ],
  [
    'application_tunnel 23',
    'ba 01 05 08 01 10 a0 75',
    { applicationTunnel: { protocol: 'PROXY', port: 15008 } },
  ],
  [
    'locality 24',
    'c2 01 09 0a 01 72 12 01 7a 1a 01 73',
    { locality: { region: 'r', zone: 'z', subzone: 's' } },
  ],
  ['network_mode 25', 'c8 01 01', { networkMode: 'HostNetwork' }],
  ['extensions 26, not read', 'd2 01 03 0a 01 65', {}],
  ['capacity 27', 'da 01 02 08 05', { capacity: 5 }],
  ['capacity 27, zero', 'da 01 00', { capacity: 0 }],
  ['a field of the future', 'f8 3e 01 fa 3e 01 78', {}],
];

const bareService = aService('h', { name: '', namespace: '', ports: {} });
const port = { servicePort: 80, targetPort: 8080 };

const serviceFields: readonly [field: string, hex: string, Partial<Service>][] = [
  ['name 1', '0a 01 61', { name: 'a' }],
  ['namespace 2', '12 01 6e', { namespace: 'n' }],
  [
    'addresses 4',
    '22 09 0a 01 6e 12 04 0a 00 00 01',
    { addresses: [{ network: 'n', ip: '10.0.0.1' as never }] },
  ],
  [
    'addresses 4, with a length 3',
    '22 0b 0a 01 6e 12 04 0a 01 02 03 18 10',
    { cidrAddresses: [{ network: 'n', base: '10.1.0.0' as never, length: 16 }] },
  ],
  [
    'addresses 4, with a length of 0',
    '22 08 12 04 0a 00 00 00 18 00',
    { cidrAddresses: [{ network: '', base: '0.0.0.0' as never, length: 0 }] },
  ],
  ['ports 5', '2a 07 08 50 10 90 3f 18 02', { ports: [{ ...port, appProtocol: 'HTTP2' }] }],
  ['ports 5, last protocol', '2a 07 08 50 10 90 3f 18 05', { ports: [{ ...port, appProtocol: 'TLS' }] }],
  ['subject_alt_names 6', '32 01 73', { subjectAltNames: ['s'] }],
  ['waypoint 7', wrap('3a', gateway), { waypoint: gatewayModel }],
  [
    'load_balancing 8',
    '42 08 0a 02 06 02 10 02 18 01',
    {
      loadBalancing: { routingPreference: ['NETWORK', 'ZONE'], mode: 'FAILOVER', healthPolicy: 'ALLOW_ALL' },
    },
  ],
  [
    'load_balancing 8, scopes not packed',
    '42 06 08 01 08 04 10 01',
    {
      loadBalancing: { routingPreference: ['REGION', 'NODE'], mode: 'STRICT', healthPolicy: 'ONLY_HEALTHY' },
    },
  ],
  ['ip_families 9', '48 03', { ipFamilies: 'DUAL' }],
  ['extensions 10, not read', '52 03 0a 01 65', {}],
  ['canonical 11', '58 01', { canonical: true }],
  ['ingress_use_waypoint 12', '60 01', { ingressUseWaypoint: true }],
  [
    'weighted_waypoints 13',
    `6a 12 0a 0e ${gateway} 10 1e`,
    { weightedWaypoints: [{ destination: gatewayModel, weight: 30 }] },
  ],
  ['visibility 14', '70 01', { visibility: 'NAMESPACE' }],
  ['visibility 14, unknown values mean public', '70 07', { visibility: 'PUBLIC' }],
];

suite('a workload', () => {
  test('of nothing but a uid has all the defaults', () => {
    assert.deepEqual(decodeAddress(workloadOf(uid)), bareWorkload);
  });

  for (const [field, hex, expected] of workloadFields)
    test(`has ${field} in its place`, () => {
      const decoded = decodeAddress(workloadOf(`${uid} ${hex}`));
      assert.deepEqual(decoded, { ...bareWorkload, ...expected });
      assert.deepEqual(decodeAddress(encodeAddress(decoded)), decoded);
    });

  test('is encoded to the same bytes whatever the order of its services', () => {
    const ports = [{ servicePort: 80, targetPort: 1 }];
    const one = aWorkload('a', { services: { 'n/a': { 80: 1 }, 'n/b': { 80: 1 } } });
    const other = { ...one, services: { 'n/b': ports, 'n/a': ports } };
    assert.deepEqual(encodeAddress(other), encodeAddress(one));
  });

  test('without its defaults is short: what is not said is not written', () => {
    // serviceAccount and clusterId are always said, since other readers may have other defaults.
    assert.deepEqual(
      Buffer.from(encodeAddress(bareWorkload)),
      workloadOf(`3a 07 64 65 66 61 75 6c 74 92 01 0a 4b 75 62 65 72 6e 65 74 65 73 ${uid}`),
    );
  });
});

suite('a service', () => {
  test('of nothing but a hostname has all the defaults', () => {
    assert.deepEqual(decodeAddress(serviceOf('1a 01 68')), bareService);
  });

  for (const [field, hex, expected] of serviceFields)
    test(`has ${field} in its place`, () => {
      const decoded = decodeAddress(serviceOf(`1a 01 68 ${hex}`));
      assert.deepEqual(decoded, { ...bareService, ...expected });
      assert.deepEqual(decodeAddress(encodeAddress(decoded)), decoded);
    });
});

test('a record’s name is the uid of a workload and namespace/hostname of a service', () => {
  assert.equal(resourceName(decodeAddress(workloadOf(uid))), 'u');
  assert.equal(resourceName(decodeAddress(serviceOf('1a 01 68 12 01 6e'))), 'n/h');
});

const refusals: readonly [what: string, Buffer, resource: string, detail: RegExp][] = [
  ['bytes that are no protobuf', bytes('0a ff'), '', /^not a istio\.workload\.Address: /],
  ['neither a workload nor a service', bytes(''), '', /^type: neither a workload nor a service$/],
  ['a kind of the future', bytes('1a 00'), '', /^type: neither/],
  ['no uid', workloadOf('0a 01 61'), '', /^uid: is empty$/],
  ['no hostname', serviceOf('12 01 6e'), 'n/', /^hostname: is empty$/],
  ['an address of 3 bytes', workloadOf(`${uid} 1a 04 0a 00 00 01 1a 03 01 02 03`), 'u', /^addresses\[1\]: .*not 3$/],
  ['an empty address', workloadOf(`${uid} 1a 00`), 'u', /^addresses\[0\]: an IP address has 4 or 16 bytes, not 0$/],
  ['LEGACY_ISTIO_MTLS', workloadOf(`${uid} 28 02`), 'u', /^tunnelProtocol: LEGACY_ISTIO_MTLS is not supported$/],
  ['an unknown protocol', workloadOf(`${uid} 28 03`), 'u', /^tunnelProtocol: unknown value 3$/],
  ['a negative enum', workloadOf(`${uid} 28 ff ff ff ff ff ff ff ff ff 01`), 'u', /^tunnelProtocol: unknown value -1$/],
  ['an unknown type', workloadOf(`${uid} 60 04`), 'u', /^workloadType: unknown value 4$/],
  ['an unknown status', workloadOf(`${uid} 88 01 02`), 'u', /^status: unknown value 2$/],
  ['an unknown network mode', workloadOf(`${uid} c8 01 02`), 'u', /^networkMode: unknown value 2$/],
  ['a waypoint without a destination', workloadOf(`${uid} 42 03 18 a0 75`), 'u', /^waypoint\.destination: is not set$/],
  ['a gateway with a port of 65536', workloadOf(`${uid} ${wrap('42', '0a 03 12 01 68 18 80 80 04')}`), 'u', /^waypoint\.hboneMtlsPort: port 65536 is greater/],
  ['a gateway with a bad address', workloadOf(`${uid} 9a 01 05 12 03 12 01 01`), 'u', /^networkGateway\.address\.address: an IP address/],
  ['a gateway that is a range', workloadOf(`${uid} 42 0a 12 08 12 04 0a 00 00 00 18 08`), 'u', /^waypoint\.address\.length: a gateway is one address/],
  ['a gateway without a hostname', workloadOf(`${uid} 42 05 0a 03 0a 01 6e`), 'u', /^waypoint\.hostname: is empty$/],
  ['a service key without a slash', workloadOf(`${uid} b2 01 05 0a 01 6e 12 00`), 'u', /^services\["n"\]: the key is not/],
  ['a service key without a hostname', workloadOf(`${uid} b2 01 06 0a 02 6e 2f 12 00`), 'u', /^services\["n\/"\]: the key is not/],
  ['a target port of 70000', workloadOf(`${uid} b2 01 0f 0a 03 6e 2f 68 12 08 0a 06 08 50 10 f0 a2 04`), 'u', /^services\["n\/h"\]\.ports\[0\]\.targetPort: port 70000 is greater than 65535$/],
  ['an unknown application tunnel', workloadOf(`${uid} ba 01 02 08 02`), 'u', /^applicationTunnel\.protocol: unknown value 2$/],
  ['an application tunnel’s port of 65536', workloadOf(`${uid} ba 01 04 10 80 80 04`), 'u', /^applicationTunnel\.port: port 65536/],
  ['a service address of 5 bytes', serviceOf('1a 01 68 22 07 12 05 01 02 03 04 05'), '/h', /^addresses\[0\]\.address: .* not 5$/],
  ['a prefix longer than the address', serviceOf('1a 01 68 22 08 12 04 0a 00 00 00 18 21'), '/h', /^addresses\[0\]\.length: prefix length 33 is greater than 32$/],
  ['an unknown app protocol', serviceOf('1a 01 68 2a 02 18 06'), '/h', /^ports\[0\]\.appProtocol: unknown value 6$/],
  ['a service port of 65536', serviceOf('1a 01 68 2a 04 08 80 80 04'), '/h', /^ports\[0\]\.servicePort: port 65536/],
  ['an unspecified scope', serviceOf('1a 01 68 42 02 08 00'), '/h', /^loadBalancing\.routingPreference\[0\]: unknown value 0$/],
  ['an unknown scope', serviceOf('1a 01 68 42 04 08 01 08 07'), '/h', /^loadBalancing\.routingPreference\[1\]: unknown value 7$/],
  ['an unknown mode', serviceOf('1a 01 68 42 02 10 04'), '/h', /^loadBalancing\.mode: unknown value 4$/],
  ['an unknown health policy', serviceOf('1a 01 68 42 02 18 02'), '/h', /^loadBalancing\.healthPolicy: unknown value 2$/],
  ['unknown families', serviceOf('1a 01 68 48 04'), '/h', /^ipFamilies: unknown value 4$/],
  ['a weighted waypoint without a gateway', serviceOf('1a 01 68 6a 02 10 1e'), '/h', /^weightedWaypoints\[0\]\.destination: is not set$/],
]; // prettier-ignore

suite('refused, with the name of the resource and the field:', () => {
  for (const [what, input, resource, detail] of refusals)
    test(what, () => {
      assert.throws(
        () => decodeAddress(input),
        (error: unknown) => {
          assert.ok(error instanceof WireError, String(error));
          assert.equal(error.resource, resource);
          assert.match(error.detail, detail);
          assert.equal(error.message, resource === '' ? error.detail : `${resource}: ${error.detail}`);
          return true;
        },
      );
    });

  test('a record that cannot stand on the wire', () => {
    const bad = aWorkload('a', { addresses: ['10.0.0.300'] });
    assert.throws(
      () => encodeAddress(bad),
      /cluster1\/\/Pod\/ns\/a: addresses\[0\]: not an IP address: "10\.0\.0\.300"/,
    );
  });
});

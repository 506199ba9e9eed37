import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { suite, test } from 'node:test';
import { ConfigError, parseDuration } from '#/program/index.ts';
import { parseZtunnelConfig, type ZtunnelConfig } from './config.ts';

const cores = availableParallelism();
const dns: ZtunnelConfig['dns'] = {
  capture: true,
  hosts: ['127.0.0.1', '::1'],
  port: 15053,
  resolvConf: '/etc/resolv.conf',
};

suite('configuration', () => {
  test('the defaults are those of upstream', () => {
    assert.deepEqual(parseZtunnelConfig({}), {
      xdsAddress: 'https://localhost:15012',
      caAddress: 'https://localhost:15012',
      xdsRootCert: './var/run/secrets/istio/root-cert.pem',
      caRootCert: './var/run/secrets/istio/root-cert.pem',
      authToken: './var/run/secrets/tokens/istio-token',
      xdsHeaders: {},
      caHeaders: {},
      clusterId: 'Kubernetes',
      clusterDomain: 'cluster.local',
      network: '',
      podName: '',
      podNamespace: '',
      instanceIp: '1.1.1.1',
      trustDomain: 'cluster.local',
      proxyMetadata: {},
      ipv6: true,
      originalSource: 'try',
      packetMark: 1337,
      zdsPath: '/var/run/ztunnel/ztunnel.sock',
      reusePort: true,
      poolMaxStreams: 100,
      poolIdleMs: 300_000,
      windows: { streamWindow: 4_194_304, connectionWindow: 16_777_216, maxFrameSize: 1_048_576 },
      keepAlive: { timeSeconds: 180, intervalSeconds: 180, retries: 9 },
      drainMs: 5000,
      certificateTtlSeconds: 86_400,
      workers: Math.ceil(cores / 4),
      loopbackTunnel: true,
      responseBaggage: true,
      policyLogLevel: 'debug',
      logLevel: 'info',
      logFormat: 'plain',
      ports: {
        outbound: 15001,
        inboundPlaintext: 15006,
        inbound: 15008,
        admin: 15000,
        metrics: 15020,
        readiness: 15021,
      },
      dns,
      unknownPolicy: 'deny',
      maxConnectionsPerPod: 20_000,
    } satisfies ZtunnelConfig);
  });

  type Row = readonly [
    env: Record<string, string>,
    expected: { readonly [K in keyof ZtunnelConfig]?: ZtunnelConfig[K] | undefined },
  ];
  const rows: readonly Row[] = [
    [{ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, { xdsAddress: 'https://istiod.istio-system.svc:15012' }],
    [{ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, { caAddress: 'https://istiod.istio-system.svc:15012' }],
    [{ XDS_ADDRESS: '' }, { xdsAddress: '', caAddress: 'https://localhost:15012' }],
    [{ XDS_ADDRESS: 'control:15012' }, { xdsAddress: 'https://control:15012' }],
    [{ XDS_ADDRESS: 'http://control:15010' }, { xdsAddress: 'http://control:15010' }],
    [{ CA_ADDRESS: 'ca:1' }, { caAddress: 'https://ca:1' }],
    [
      { XDS_ROOT_CA: 'SYSTEM', CA_ROOT_CA: '/ca.pem' },
      { xdsRootCert: 'SYSTEM', caRootCert: '/ca.pem' },
    ],
    [
      { ALT_XDS_HOSTNAME: 'a', ALT_CA_HOSTNAME: 'b' },
      { altXdsHostname: 'a', altCaHostname: 'b' },
    ],
    [
      { XDS_HEADER_FOO: 'x', CA_HEADER_BAR: 'y' },
      { xdsHeaders: { FOO: 'x' }, caHeaders: { BAR: 'y' } },
    ],
    [{ AUTH_TOKEN: 'literal' }, { authToken: 'literal' }],
    [{ ISTIO_META_CLUSTER_ID: 'a', CLUSTER_ID: 'b' }, { clusterId: 'a' }],
    [{ CLUSTER_ID: 'b' }, { clusterId: 'b' }],
    [{ ISTIO_META_ISTIO_VERSION: '1.2' }, { proxyMetadata: { ISTIO_VERSION: '1.2' } }],
    [
      { NODE_NAME: 'n1', NETWORK: 'net' },
      { nodeName: 'n1', network: 'net' },
    ],
    [{ NODE_NAME: '' }, { nodeName: undefined }],
    [
      { POD_NAME: 'zt', POD_NAMESPACE: 'istio-system', SERVICE_ACCOUNT: 'ztunnel', INSTANCE_IP: '10.0.0.9' },
      { podName: 'zt', podNamespace: 'istio-system', serviceAccount: 'ztunnel', instanceIp: '10.0.0.9' },
    ],
    [{ IPV6_ENABLED: 'false' }, { ipv6: false }],
    [{ IPV6_ENABLED: 'FALSE' }, { ipv6: false }],
    [{ ENABLE_ORIG_SRC: 'true' }, { originalSource: 'always' }],
    [{ ENABLE_ORIG_SRC: 'false' }, { originalSource: 'never' }],
    [{ PACKET_MARK: '1338' }, { packetMark: 1338 }],
    [
      { INPOD_UDS: '/x.sock', INPOD_PORT_REUSE: 'false' },
      { zdsPath: '/x.sock', reusePort: false },
    ],
    [{ POOL_MAX_STREAMS_PER_CONNECTION: '7' }, { poolMaxStreams: 7 }],
    [{ POOL_UNUSED_RELEASE_TIMEOUT: '1m30s' }, { poolIdleMs: 90_000 }],
    [{ KEEPALIVE_ENABLED: 'false' }, { keepAlive: undefined }],
    [
      { KEEPALIVE_TIME: '1500ms', KEEPALIVE_INTERVAL: '10s', KEEPALIVE_RETRIES: '3' },
      { keepAlive: { timeSeconds: 2, intervalSeconds: 10, retries: 3 } },
    ],
    [{ USER_TIMEOUT_ENABLED: 'true' }, { userTimeoutMs: (180 + 9 * 180) * 1000 }],
    [{ CONNECTION_TERMINATION_DEADLINE: '7s', TERMINATION_GRACE_PERIOD_SECONDS: '30' }, { drainMs: 7000 }],
    [{ CONNECTION_TERMINATION_DEADLINE: '', TERMINATION_GRACE_PERIOD_SECONDS: '30' }, { drainMs: 25_000 }],
    [{ TERMINATION_GRACE_PERIOD_SECONDS: '30' }, { drainMs: 25_000 }],
    [{ TERMINATION_GRACE_PERIOD_SECONDS: '10' }, { drainMs: 9000 }],
    [{ TERMINATION_GRACE_PERIOD_SECONDS: '1' }, { drainMs: 1000 }],
    [{ SECRET_TTL: '1h' }, { certificateTtlSeconds: 3600 }],
    [{ ZTUNNEL_WORKER_THREADS: '3' }, { workers: 3 }],
    [{ ZTUNNEL_WORKER_THREADS: '0' }, { workers: cores }],
    [{ ZTUNNEL_WORKER_THREADS: '100%' }, { workers: cores }],
    [{ ZTUNNEL_WORKER_THREADS: '1%' }, { workers: 1 }],
    [{ ZTUNNEL_CPU_LIMIT: '5' }, { workers: 5 }],
    [{ ZTUNNEL_RESOURCE_CPU_LIMIT: '2', ZTUNNEL_RESOURCE_CPU_REQUEST: '4' }, { workers: 4 }],
    [{ ZTUNNEL_RESOURCE_CPU_REQUEST: '64' }, { workers: 64 }],
    [{ LOCALHOST_APP_TUNNEL: 'false' }, { loopbackTunnel: false }],
    [{ ENABLE_RESPONSE_BAGGAGE: 'false' }, { responseBaggage: false }],
    [{ AUTHZ_POLICY_INFO_LOGGING: 'true' }, { policyLogLevel: 'info' }],
    [{ RUST_LOG: 'debug' }, { logLevel: 'debug' }],
    [{ RUST_LOG: 'hickory_server=off,WARN' }, { logLevel: 'warn' }],
    [{ RUST_LOG: 'hickory_server=off' }, { logLevel: 'info' }],
    [{ LOG_FORMAT: 'json' }, { logFormat: 'json' }],
    [{ UPSTREAM_UNKNOWN_POLICY: 'true' }, { unknownPolicy: 'skip' }],
    [{ MAX_CONNECTIONS_PER_POD: '10' }, { maxConnectionsPerPod: 10 }],
    [{ PROXY_MODE: 'shared' }, {}],
    [{ ISTIO_META_DNS_CAPTURE: 'TRUE' }, { dns: { ...dns, capture: true } }],
    [{ ISTIO_META_DNS_CAPTURE: 'false' }, { dns: { ...dns, capture: false } }],
    [{ ISTIO_META_DNS_CAPTURE: '1' }, { dns: { ...dns, capture: false } }],
    [{ ISTIO_META_DNS_CAPTURE: '' }, { dns: { ...dns, capture: false } }],
    [{ ISTIO_META_DNS_PROXY_ADDR: 'localhost:5353' }, { dns: { ...dns, port: 5353 } }],
    [{ ISTIO_META_DNS_PROXY_ADDR: '[::1]:53' }, { dns: { ...dns, hosts: ['::1'], port: 53 } }],
    [{ PREFERED_SERVICE_NAMESPACE: 'shared' }, { dns: { ...dns, preferredNamespace: 'shared' } }],
    [{ PREFERED_SERVICE_NAMESPACE: '' }, { dns }],
    [{ IPV6_ENABLED: 'false' }, { dns: { ...dns, hosts: ['127.0.0.1'] } }],
    [{ XDS_ON_DEMAND: 'false' }, {}],
    [{ CRL_PATH: '' }, {}],
  ];
  for (const [env, expected] of rows)
    test(Object.entries(env).join(' ').replaceAll(',', '='), () => {
      const config = parseZtunnelConfig(env);
      for (const [name, value] of Object.entries(expected))
        assert.deepEqual(config[name as keyof ZtunnelConfig], value, name);
    });

  const wrong: readonly (readonly [env: Record<string, string>, message: RegExp])[] = [
    [{ IPV6_ENABLED: 'yes' }, /^IPV6_ENABLED="yes" is neither true nor false$/],
    [{ PACKET_MARK: '0x539' }, /^PACKET_MARK="0x539" is not a whole number/],
    [{ PACKET_MARK: '-1' }, /^PACKET_MARK="-1" is not a whole number from 0 to /],
    [{ POOL_MAX_STREAMS_PER_CONNECTION: '0' }, /is not a whole number from 1 to/],
    [{ POOL_UNUSED_RELEASE_TIMEOUT: '10' }, /is not a duration such as 5s, 10m or 1h30m$/],
    [{ SECRET_TTL: '-1h' }, /^SECRET_TTL="-1h" is not a duration/],
    [{ KEEPALIVE_TIME: '0s' }, /^KEEPALIVE_TIME is 0 s; expected from 1s to 32767s$/],
    [{ KEEPALIVE_INTERVAL: '10h' }, /^KEEPALIVE_INTERVAL is 36000 s/],
    [{ KEEPALIVE_RETRIES: '128' }, /from 1 to 127$/],
    [{ HTTP2_FRAME_SIZE: '16777216' }, /from 16384 to 16777215$/],
    [{ ZTUNNEL_WORKER_THREADS: 'many' }, /^ZTUNNEL_WORKER_THREADS="many" is not a whole number/],
    [{ RUST_LOG: 'loud' }, /^RUST_LOG="loud": "loud" is none of trace, debug, info, warn, error$/],
    [{ ADMIN_PORT: '70000' }, /^ADMIN_PORT="70000" is not a whole number from 0 to 65535$/],
    [{ MAX_CONNECTIONS_PER_POD: '0' }, /from 1 to/],
    [{ CRL_PATH: '/crl.pem' }, /^CRL_PATH="\/crl.pem" is not supported yet: .*; unset it$/],
    [{ COMPLIANCE_POLICY: 'pqc' }, /^COMPLIANCE_POLICY="pqc" is not supported yet/],
    [{ LOCAL_XDS_PATH: '/x' }, /^LOCAL_XDS_PATH/],
    [{ XDS_ON_DEMAND: 'true' }, /^XDS_ON_DEMAND=true is not supported yet: .*; unset it$/],
    [{ ISTIO_META_DNS_PROXY_ADDR: '0.0.0.0:15053' }, /^ISTIO_META_DNS_PROXY_ADDR="0.0.0.0:15053" is neither/],
    [{ ISTIO_META_DNS_PROXY_ADDR: 'localhost' }, /such as localhost:15053$/],
    [{ ISTIO_META_DNS_PROXY_ADDR: 'localhost:0' }, /such as localhost:15053$/],
    [{ PROXY_MODE: 'dedicated' }, /^PROXY_MODE="dedicated" is not supported/],
  ];
  for (const [env, message] of wrong)
    test(`refused: ${Object.entries(env).join(' ').replaceAll(',', '=')}`, () => {
      assert.throws(
        () => parseZtunnelConfig(env),
        (error) => error instanceof ConfigError && message.test(error.message),
      );
    });

  test('durations', () => {
    assert.equal(parseDuration('X', '500ms'), 500);
    assert.equal(parseDuration('X', '1h30m'), 5_400_000);
    assert.equal(parseDuration('X', '0.5s'), 500);
    for (const bad of ['', 's', '5', '5 s', '5d', '1h-', '1e3s'])
      assert.throws(() => parseDuration('X', bad), ConfigError, bad);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { versionIn } from './control-access.ts';
import { dataPlaneVersions, proxyReports, shortType, type ControlPlaneReport } from './proxy-report.ts';
import { proxyStatusText } from './proxy-status.ts';
import { versionText } from './version.ts';

const wds = 'type.googleapis.com/istio.workload.Address';
const wads = 'type.googleapis.com/istio.security.Authorization';

const replicas: readonly ControlPlaneReport[] = [
  {
    name: 'istiod-1',
    version: '0.1.0',
    proxies: [
      {
        cluster_id: 'Kubernetes',
        proxy: 'ztunnel-a.istio-system',
        istio_version: '1.30.0',
        resources: { [wds]: { sent: '1', acked: '1' }, [wads]: { sent: '2', acked: '2' } },
      },
      {
        cluster_id: 'Kubernetes',
        proxy: 'ztunnel-b.istio-system',
        istio_version: '',
        resources: {
          [wds]: { sent: '3', acked: '1' },
          [wads]: { sent: '4', acked: '2', lastError: 'policy x: bad' },
        },
      },
    ],
  },
];

const pod = (name: string, node: string) =>
  ({ type: 'ztunnel', namespace: 'istio-system', name, node, ready: true }) as const;

test('a proxy is as bad as its worst type, and a ztunnel without a connection is told', () => {
  const reports = proxyReports(replicas, [
    pod('ztunnel-a', 'n1'),
    pod('ztunnel-b', 'n2'),
    pod('ztunnel-c', 'n3'),
  ]);
  assert.deepEqual(
    reports.map(({ name, node, status }) => [name, node, status]),
    [
      ['ztunnel-a.istio-system', 'n1', 'SYNCED'],
      ['ztunnel-b.istio-system', 'n2', 'ERROR'],
      ['ztunnel-c.istio-system', 'n3', 'NOT CONNECTED'],
    ],
  );
  assert.equal(
    proxyStatusText(reports),
    `NAME                     TYPE      CLUSTER      NODE   ISTIOD     VERSION   STATUS          SUBSCRIBED TYPES
ztunnel-a.istio-system   ztunnel   Kubernetes   n1     istiod-1   1.30.0    SYNCED          2 (WADS,WDS)
ztunnel-b.istio-system   ztunnel   Kubernetes   n2     istiod-1   -         ERROR           2 (WADS,WDS)
ztunnel-c.istio-system   ztunnel   -            n3     -          -         NOT CONNECTED   0 ()

ztunnel-b.istio-system has rejected WADS and uses what it had before:
  policy x: bad

ztunnel-c.istio-system is not connected: pods of node n3 run with what it knew last; look at its log
`,
  );
});

test('waypoints are told by what they are', () => {
  const waypoint = (name: string) =>
    ({ type: 'waypoint', namespace: 'shop', name, node: 'n1', ready: true }) as const;
  const reports = proxyReports(
    [
      {
        name: 'istiod-1',
        version: '0.1.0',
        proxies: [
          {
            proxy: 'waypoint-1.shop',
            proxy_type: 'waypoint',
            resources: {
              [wds]: { sent: '1', acked: '1' },
              'type.googleapis.com/aura.waypoint.v1.Resource': { sent: '1', acked: '1' },
            },
          },
        ],
      },
    ],
    [waypoint('waypoint-1'), waypoint('waypoint-2')],
  );
  assert.equal(
    proxyStatusText(reports),
    `NAME              TYPE       CLUSTER   NODE   ISTIOD     VERSION   STATUS          SUBSCRIBED TYPES
waypoint-1.shop   waypoint   -         n1     istiod-1   -         SYNCED          2 (WDS,WPDS)
waypoint-2.shop   waypoint   -         n1     -          -         NOT CONNECTED   0 ()

waypoint-2.shop is not connected: requests through it are served with what it knew last; look at its log
`,
  );
});

test('versions are counted', () => {
  assert.deepEqual(dataPlaneVersions(replicas), [
    { version: '1.30.0', proxies: 1 },
    { version: 'unknown', proxies: 1 },
  ]);
  assert.equal(
    versionText({
      clientVersion: '0.1.0',
      meshVersion: [{ component: 'istiod-1', version: '0.1.0' }],
      dataPlaneVersion: dataPlaneVersions(replicas),
    }),
    'client version: 0.1.0\ncontrol plane version: 0.1.0\ndata plane version: 1.30.0 (1 proxy), unknown (1 proxy)\n',
  );
  assert.equal(
    versionText({ clientVersion: '0.1.0', unknown: 'no cluster' }),
    'client version: 0.1.0\ncontrol plane version: not known: no cluster\n',
  );
});

test('types have short names', () => {
  assert.equal(shortType(wds), 'WDS');
  assert.equal(shortType('type.googleapis.com/some.other.Thing'), 'Thing');
});

test('the version of a control plane, ours or Istio’s', () => {
  assert.equal(versionIn('0.1.0-unknown-Clean\n'), '0.1.0');
  assert.equal(versionIn('1.30-alpha.86c9f01f-86c9f01fd-Modified'), '1.30-alpha.86c9f01f');
});

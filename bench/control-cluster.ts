// The cluster of `npm run bench -- control`: a Kubernetes API in a process of its own, filled with services and pods of
// a usual size, whose pods change when they are told to. Talks to the bench by IPC.
import { writeFileSync } from 'node:fs';
import { FakeApi, type FakeObject } from '../src/control/fake-api.ts';

export type ClusterCommand =
  | { readonly kind: 'change'; readonly pod: number }
  | { readonly kind: 'churn'; readonly perSecond: number };

export type ClusterReport =
  | { readonly kind: 'ready'; readonly podBytes: number }
  | { readonly kind: 'changed'; readonly name: string; readonly at: number };

/** Pods below this number are changed one by one and measured; the churn is among the others. */
export const measuredPods = 500;

export const podName = (pod: number, services: number): string =>
  `app-${pod % services}-6d5f8b7c94-${pod.toString(36).padStart(5, '0')}`;

const namespaceOf = (service: number): string => `ns-${service % 100}`;

/** Milliseconds since the epoch with a fraction, comparable between processes of one machine. */
export const now = (): number => performance.timeOrigin + performance.now();

const pods = '/api/v1/pods';

function pod(i: number, services: number, nodes: number, ready: boolean): FakeObject {
  const service = i % services;
  const app = `app-${service}`;
  const name = podName(i, services);
  const state = ready ? 'True' : 'False';
  const at = '2026-01-01T00:00:00Z';
  const condition = (type: string, status: string) => ({
    type,
    status,
    lastProbeTime: null,
    lastTransitionTime: at,
  });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      generateName: `${app}-6d5f8b7c94-`,
      namespace: namespaceOf(service),
      labels: { app, version: 'v1', tier: 'backend', 'pod-template-hash': '6d5f8b7c94' },
      annotations: {
        'ambient.istio.io/redirection': 'enabled',
        'kubectl.kubernetes.io/restartedAt': at,
        'prometheus.io/scrape': 'true',
        'prometheus.io/port': '15020',
      },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${app}-6d5f8b7c94`,
          uid: `rs-${service}`,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      nodeName: `node-${i % nodes}`,
      serviceAccountName: `sa-${service % 50}`,
      serviceAccount: `sa-${service % 50}`,
      restartPolicy: 'Always',
      dnsPolicy: 'ClusterFirst',
      schedulerName: 'default-scheduler',
      terminationGracePeriodSeconds: 30,
      securityContext: {},
      tolerations: [
        {
          key: 'node.kubernetes.io/not-ready',
          operator: 'Exists',
          effect: 'NoExecute',
          tolerationSeconds: 300,
        },
        {
          key: 'node.kubernetes.io/unreachable',
          operator: 'Exists',
          effect: 'NoExecute',
          tolerationSeconds: 300,
        },
      ],
      volumes: [
        {
          name: 'kube-api-access',
          projected: {
            defaultMode: 420,
            sources: [
              { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
              { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
              {
                downwardAPI: {
                  items: [
                    { path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } },
                  ],
                },
              },
            ],
          },
        },
      ],
      containers: [
        {
          name: 'app',
          image: `registry.example.com/team/${app}:1.42.7`,
          imagePullPolicy: 'IfNotPresent',
          ports: [
            { name: 'http', containerPort: 8080, protocol: 'TCP' },
            { name: 'metrics', containerPort: 9090, protocol: 'TCP' },
          ],
          env: Array.from({ length: 8 }, (_, n) => ({
            name: `SETTING_${n}`,
            value: `value-of-setting-${n}`,
          })),
          resources: { limits: { cpu: '1', memory: '512Mi' }, requests: { cpu: '100m', memory: '128Mi' } },
          readinessProbe: {
            httpGet: { path: '/ready', port: 'http', scheme: 'HTTP' },
            periodSeconds: 10,
            timeoutSeconds: 1,
            failureThreshold: 3,
          },
          volumeMounts: [
            {
              name: 'kube-api-access',
              mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
              readOnly: true,
            },
          ],
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
        },
      ],
    },
    status: {
      phase: 'Running',
      hostIP: `172.16.${(i % nodes) >> 8}.${(i % nodes) & 255}`,
      podIP: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`,
      podIPs: [{ ip: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` }],
      startTime: at,
      qosClass: 'Burstable',
      conditions: [
        condition('Initialized', 'True'),
        condition('Ready', state),
        condition('ContainersReady', state),
        condition('PodScheduled', 'True'),
      ],
      containerStatuses: [
        {
          name: 'app',
          ready,
          started: true,
          restartCount: 0,
          image: `registry.example.com/team/${app}:1.42.7`,
          imageID: `registry.example.com/team/${app}@sha256:${'0'.repeat(64)}`,
          containerID: `containerd://${i.toString(16).padStart(64, '0')}`,
          state: { running: { startedAt: at } },
          lastState: {},
        },
      ],
    },
  };
}

async function serve(count: number, services: number, nodes: number, kubeconfig: string): Promise<void> {
  const api = await new FakeApi().listen();
  for (const name of ['istio-system', ...Array.from({ length: 100 }, (_, n) => `ns-${n}`)])
    api.put('/api/v1/namespaces', { metadata: { name } });
  for (let n = 0; n < nodes; n++)
    api.put('/api/v1/nodes', {
      metadata: {
        name: `node-${n}`,
        labels: { 'topology.kubernetes.io/region': 'r', 'topology.kubernetes.io/zone': `z${n % 3}` },
      },
    });
  for (let s = 0; s < services; s++)
    api.put('/api/v1/services', {
      metadata: { name: `app-${s}`, namespace: namespaceOf(s) },
      spec: {
        clusterIP: `10.250.${s >> 8}.${s & 255}`,
        clusterIPs: [`10.250.${s >> 8}.${s & 255}`],
        selector: { app: `app-${s}` },
        ports: [{ name: 'http', port: 80, targetPort: 'http', protocol: 'TCP' }],
      },
    });
  const ready: boolean[] = [];
  const change = (i: number): void => {
    ready[i] = !(ready[i] ?? false);
    api.put(pods, pod(i, services, nodes, ready[i]));
  };
  for (let i = 0; i < count; i++) change(i);
  writeFileSync(kubeconfig, api.kubeconfig());
  const report = (message: ClusterReport): void => void process.send?.(message);
  let churn: NodeJS.Timeout | undefined;
  process.on('message', (command: ClusterCommand) => {
    if (command.kind === 'change') {
      const at = now();
      change(command.pod);
      report({ kind: 'changed', name: podName(command.pod, services), at });
      return;
    }
    clearInterval(churn);
    let next = 0;
    if (command.perSecond > 0 && count > measuredPods)
      churn = setInterval(() => {
        for (let n = 0; n < command.perSecond / 50; n++)
          change(measuredPods + ((next++ * 7919) % (count - measuredPods)));
      }, 20);
  });
  process.on('disconnect', () => process.exit(0));
  report({ kind: 'ready', podBytes: JSON.stringify(pod(0, services, nodes, true)).length });
}

if (process.argv[1] === import.meta.filename) {
  const [count, services, nodes, kubeconfig] = process.argv.slice(2);
  await serve(Number(count), Number(services), Number(nodes), kubeconfig ?? '');
}

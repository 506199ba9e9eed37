// The lab as a cluster, without a mesh: what `kubectl` and a pod may expect.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { eventually, hostNetwork, TestLab } from './test-lab.ts';

const debug = '-n ambient-demo ds/debug --node ambient-worker';

const podManifest = (name: string, spec: string): string => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: default, labels: {app: ${name}}}
spec:
  terminationGracePeriodSeconds: 1
${spec}`;

describe('a lab without a mesh', () => {
  const lab = new TestLab();
  let host = '';

  before(async () => {
    host = await hostNetwork();
    await lab.up('--no-mesh', '--ip-families', 'dual', '-f', 'samples/ambient-demo.yaml');
  });
  after(() => lab[Symbol.asyncDispose]());

  test('the host’s links, routes and rules are as they were', async () => {
    assert.equal(await hostNetwork(), host);
  });

  test('status names nodes, parts and pods, for people and for programs', async () => {
    const text = await lab.must('lab', 'status');
    assert.match(text, /ambient-control-plane +yes +172\.18\.0\.2,fd00:172:18::2/);
    const status = JSON.parse(await lab.must('lab', 'status', '-o', 'json')) as {
      phase: string;
      pods: { name: string; ready: boolean }[];
    };
    assert.equal(status.phase, 'ready');
    assert.equal(status.pods.filter(({ name }) => name.startsWith('httpbin-')).length, 2);
    assert.match(await lab.must('lab', 'status', '-o', 'yaml'), /^phase: ready$/m);
    assert.equal((await lab.aura('lab', 'status', '-o', 'xml')).code, 1);
  });

  test('one replica runs on each worker, and a client on every node', async () => {
    const json = await lab.mustKubectl(['get', 'pods', '-n', 'ambient-demo', '-o', 'json']);
    const { items } = JSON.parse(json) as {
      items: { metadata: { labels: { app: string } }; spec: { nodeName: string } }[];
    };
    const nodesOf = (app: string): string[] =>
      items
        .filter(({ metadata }) => metadata.labels.app === app)
        .map(({ spec }) => spec.nodeName)
        .toSorted();
    assert.deepEqual(nodesOf('httpbin'), ['ambient-worker', 'ambient-worker2']);
    assert.deepEqual(nodesOf('debug'), ['ambient-control-plane', 'ambient-worker', 'ambient-worker2']);
  });

  test('a service is reached by name from every node, and sees the client’s own address', async () => {
    for (const node of ['ambient-control-plane', 'ambient-worker', 'ambient-worker2']) {
      const where = `-n ambient-demo ds/debug --node ${node}`;
      const { stdout } = await lab.exec(where, 'hostname', '-I');
      const pods = new Set<unknown>();
      for (let i = 0; i < 50 && pods.size < 2; i++) {
        const answer = await lab.curl(where, 'http://httpbin/get');
        assert.ok(
          stdout.split(' ').includes(String(answer['origin'])),
          `${node}: ${String(answer['origin'])} in ${stdout}`,
        );
        pods.add(answer['pod']);
      }
      assert.equal(pods.size, 2, 'both replicas should answer');
    }
  });

  test('a pod reaches itself by its own service', async () => {
    for (let i = 0; i < 6; i++) await lab.curl('-n ambient-demo deploy/httpbin', 'http://httpbin/ip');
  });

  test('IPv6 works beside IPv4', async () => {
    const { stdout } = await lab.exec('-n ambient-demo deploy/httpbin', 'hostname', '-I');
    const v6 = stdout.split(' ').find((ip) => ip.startsWith('fd00:'));
    const answer = await lab.curl(debug, `http://[${v6}]/ip`);
    assert.match(String(answer['origin']), /^fd00:10:244:1::/);
  });

  test('DNS: short and full names, ports, and a clear no', async () => {
    const lookup = (name: string) => lab.exec(debug, 'getent', 'hosts', name);
    assert.equal((await lookup('httpbin')).code, 0);
    assert.equal((await lookup('httpbin.ambient-demo.svc.cluster.local')).code, 0);
    assert.equal((await lookup('kubernetes.default')).code, 0);
    assert.equal((await lookup('nosuch')).code, 2);
    assert.equal((await lookup('example.com')).code, 2);
  });

  test('there is no way out to the host or beyond', async () => {
    for (const target of ['192.0.2.1', '1.1.1.1']) {
      const result = await lab.exec(debug, 'curl', '-sS', '-m', '2', `http://${target}/`);
      assert.notEqual(result.code, 0);
    }
  });

  test('a service without endpoints refuses at once', async () => {
    await lab.apply(`apiVersion: v1
kind: Service
metadata: {name: empty, namespace: default}
spec: {selector: {app: nobody}, ports: [{port: 80}]}`);
    const began = Date.now();
    const result = await eventually('a refusal', async () => {
      const got = await lab.exec(debug, 'curl', '-sS', '-m', '3', 'http://empty.default/');
      return got.code === 7 && got;
    });
    assert.match(result.stderr, /refused|Failed to connect/);
    assert.ok(Date.now() - began < 5000);
  });

  test('kubectl: logs, exec with input and exit code, label, annotate, scale, delete', async () => {
    assert.match(await lab.mustKubectl(['logs', '-n', 'ambient-demo', '-l', 'app=httpbin']), /listening on/);
    const failed = await lab.kubectl([
      'exec',
      '-n',
      'ambient-demo',
      'ds/debug',
      '--',
      'sh',
      '-c',
      'echo out; exit 7',
    ]);
    assert.equal(failed.code, 7);
    assert.equal(failed.stdout, 'out\n');
    const piped = await lab.mustKubectl(
      ['exec', '-i', '-n', 'ambient-demo', 'ds/debug', '--', 'wc', '-c'],
      'x'.repeat(100_000),
    );
    assert.equal(piped.trim(), '100000');
    await lab.mustKubectl(['annotate', 'ns', 'ambient-demo', 'note=a']);
    await lab.mustKubectl(['scale', '-n', 'ambient-demo', 'deploy/httpbin', '--replicas=3']);
    await lab.mustKubectl(['rollout', 'status', '-n', 'ambient-demo', 'deploy/httpbin', '--timeout=30s']);
    await lab.mustKubectl(['scale', '-n', 'ambient-demo', 'deploy/httpbin', '--replicas=2']);
    await lab.mustKubectl(['rollout', 'restart', '-n', 'ambient-demo', 'deploy/httpbin']);
    await lab.mustKubectl(['rollout', 'status', '-n', 'ambient-demo', 'deploy/httpbin', '--timeout=60s']);
    await lab.mustKubectl(['delete', 'pod', '-n', 'ambient-demo', '-l', 'app=httpbin', '--wait=true']);
    await lab.mustKubectl([
      'wait',
      '-n',
      'ambient-demo',
      'deploy/httpbin',
      '--for=condition=Available',
      '--timeout=30s',
    ]);
  });

  test('kubectl port-forward leads from the host into a pod', async () => {
    const child = spawn('kubectl', ['port-forward', '-n', 'ambient-demo', 'deploy/httpbin', ':80'], {
      env: { ...process.env, ...lab.env },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      let said = '';
      child.stdout.on('data', (data: Buffer) => (said += data.toString()));
      const port = await eventually('its port', () => /127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
      for (const size of [10, 2_000_000])
        assert.equal(
          (await (await fetch(`http://127.0.0.1:${port}/bytes/${size}`)).arrayBuffer()).byteLength,
          size,
        );
    } finally {
      child.kill();
    }
  });

  test('environment, volumes and identity of a container', async () => {
    await lab.apply(`apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: default}
data: {color: green, file.txt: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden, namespace: default}
stringData: {pass: hush}
---
${podManifest(
  'inside',
  `  containers:
    - name: c
      image: any/thing
      command: [sh, -c]
      args:
        - |
          echo "color=$COLOR pass=$PASS node=$NODE ip=$IP name=$(hostname)"
          cat /etc/config/file.txt /data/deep/file.txt; echo
          cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo
          test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token
          test -s /var/run/secrets/tokens/t && echo projected
          echo scratch > /cache/x && cat /cache/x
          sleep infinity
      env:
        - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
        - {name: PASS, valueFrom: {secretKeyRef: {name: hidden, key: pass}}}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
      volumeMounts:
        - {name: config, mountPath: /etc/config}
        - {name: config, mountPath: /data/deep}
        - {name: tokens, mountPath: /var/run/secrets/tokens}
        - {name: cache, mountPath: /cache}
  volumes:
    - {name: config, configMap: {name: settings}}
    - {name: cache, emptyDir: {}}
    - name: tokens
      projected: {sources: [{serviceAccountToken: {path: t, audience: istio-ca, expirationSeconds: 43200}}]}`,
)}`);
    await lab.mustKubectl(['wait', 'pod/inside', '--for=condition=Ready', '--timeout=20s']);
    const log = await eventually('the log', async () => {
      const text = await lab.mustKubectl(['logs', 'inside']);
      return text.includes('scratch') && text;
    });
    assert.match(log, /^color=green pass=hush node=ambient-worker2? ip=10\.244\.\d+\.\d+ name=inside$/m);
    assert.match(log, /^hellohello\ndefault\ntoken\nprojected\nscratch$/m);
    // A ConfigMap that changes shows in the running container.
    await lab.mustKubectl([
      'patch',
      'configmap',
      'settings',
      '--type=merge',
      '-p',
      '{"data":{"file.txt":"changed"}}',
    ]);
    await eventually(
      'the new content',
      async () => (await lab.exec('inside', 'cat', '/etc/config/file.txt')).stdout === 'changed',
    );
  });

  test('probes hold a pod back, and take it out again', async () => {
    await lab.apply(`${podManifest(
      'probed',
      `  containers:
    - name: c
      image: any/thing
      command: [sh, -c, 'touch /run/ok; sleep infinity']
      readinessProbe: {exec: {command: [test, -e, /run/go]}, periodSeconds: 1, failureThreshold: 1}
      livenessProbe: {exec: {command: [test, -e, /run/ok]}, periodSeconds: 1, failureThreshold: 1, initialDelaySeconds: 1}`,
    )}
---
apiVersion: v1
kind: Service
metadata: {name: probed, namespace: default}
spec: {selector: {app: probed}, ports: [{port: 80}]}`);
    const ready = async (): Promise<string> =>
      lab.mustKubectl([
        'get',
        'endpointslices',
        '-l',
        'kubernetes.io/service-name=probed',
        '-o',
        'jsonpath={.items[0].endpoints[0].conditions.ready}',
      ]);
    await eventually('an endpoint that is not ready', async () => (await ready()) === 'false');
    await lab.exec('probed', 'touch', '/run/go');
    await eventually('readiness', async () => (await ready()) === 'true');
    await lab.exec('probed', 'rm', '/run/go');
    await eventually('unreadiness', async () => (await ready()) === 'false');
    await lab.exec('probed', 'rm', '/run/ok');
    await eventually(
      'a restart by the liveness probe',
      async () =>
        (await lab.mustKubectl([
          'get',
          'pod',
          'probed',
          '-o',
          'jsonpath={.status.containerStatuses[0].restartCount}',
        ])) === '1',
    );
  });

  test('a container that ends is started again, slower each time; its last log stays', async () => {
    await lab.apply(
      podManifest('crash', `  containers: [{name: c, image: a, command: [sh, -c, 'echo run; exit 3']}]`),
    );
    await eventually('CrashLoopBackOff', async () =>
      (await lab.mustKubectl(['get', 'pod', 'crash'])).includes('CrashLoopBackOff'),
    );
    const state = await lab.mustKubectl([
      'get',
      'pod',
      'crash',
      '-o',
      'jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}',
    ]);
    assert.equal(state, '3');
    assert.equal(await lab.mustKubectl(['logs', 'crash', '--previous']), 'run\n');
    assert.equal(await lab.must('lab', 'logs', 'pod/crash', '-n', 'default', '--previous'), 'run\n');
    await lab.mustKubectl(['delete', 'pod', 'crash']);
  });

  test('Jobs end, StatefulSets count, init containers come first', async () => {
    await lab.apply(`apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: default}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: a, command: [echo, done]}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: set, namespace: default}
spec:
  serviceName: set
  replicas: 2
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec:
      terminationGracePeriodSeconds: 1
      initContainers: [{name: first, image: a, command: [sh, -c, 'echo made > /shared/x'], volumeMounts: [{name: s, mountPath: /shared}]}]
      containers: [{name: c, image: a, command: [sh, -c, 'cat /shared/x; sleep infinity'], volumeMounts: [{name: s, mountPath: /shared}]}]
      volumes: [{name: s, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: set, namespace: default}
spec: {clusterIP: None, selector: {app: set}, ports: [{port: 80}]}`);
    await lab.mustKubectl(['wait', 'job/once', '--for=condition=Complete', '--timeout=20s']);
    assert.equal(await lab.mustKubectl(['logs', 'job/once']), 'done\n');
    await lab.mustKubectl(['rollout', 'status', 'sts/set', '--timeout=30s']);
    assert.equal(await lab.mustKubectl(['logs', 'set-1', '-c', 'c']), 'made\n');
    await eventually(
      'the name of one pod of the set',
      async () =>
        (await lab.exec(debug, 'getent', 'hosts', 'set-1.set.default.svc.cluster.local')).code === 0,
    );
  });

  test('what cannot be is refused with a reason', async (t) => {
    const kinds: readonly (readonly [title: string, manifest: string, complaint: RegExp])[] = [
      [
        'an unknown kind',
        'apiVersion: apps/v1\nkind: Deploymnt\nmetadata: {name: x}',
        /Deploymnt x: .*no kind "Deploymnt" in "apps\/v1"/,
      ],
      [
        'an unknown field',
        `apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {prts: [{port: 1}]}`,
        /Service x: .*unknown field "spec\.prts"/,
      ],
      ['a wrong type', `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: [1]`, /ConfigMap x: /],
      ['no YAML', 'a: [', /document 1: /],
    ];
    for (const [title, manifest, complaint] of kinds)
      await t.test(title, async () => {
        const result = await lab.aura('lab', 'up', '-f', lab.file('bad.yaml', manifest));
        assert.equal(result.code, 1);
        assert.match(result.stderr, complaint);
        assert.match(result.stderr, /bad\.yaml/);
      });
    await t.test('an image that is none of ours, without a command', async () => {
      await lab.apply(podManifest('foreign', '  containers: [{name: c, image: nginx}]'));
      await eventually('the reason', async () =>
        (await lab.mustKubectl(['describe', 'pod', 'foreign'])).includes(
          "is not one of the lab's: give a command",
        ),
      );
      await lab.mustKubectl(['delete', 'pod', 'foreign']);
    });
    await t.test('a pod that wants what is not there', async () => {
      await lab.apply(
        podManifest(
          'wants',
          `  containers: [{name: c, image: a, command: [sleep, '1'], volumeMounts: [{name: v, mountPath: /run/v}]}]
  volumes: [{name: v, configMap: {name: missing}}]`,
        ),
      );
      await eventually('the reason', async () =>
        /FailedMount.*configmap "missing" not found/.test(
          await lab.mustKubectl(['describe', 'pod', 'wants']),
        ),
      );
      // It starts as soon as what it waits for is there.
      await lab.mustKubectl(['create', 'configmap', 'missing', '--from-literal=a=b']);
      await eventually(
        'the start',
        async () =>
          (await lab.mustKubectl([
            'get',
            'pod',
            'wants',
            '-o',
            'jsonpath={.status.containerStatuses[0].containerID}',
          ])) !== '',
      );
      await lab.mustKubectl(['delete', 'pod', 'wants']);
    });
    await t.test('a pod that no node suits', async () => {
      await lab.apply(
        podManifest(
          'nowhere',
          `  nodeSelector: {disk: tape}\n  containers: [{name: c, image: a, command: [sleep, '1']}]`,
        ),
      );
      await eventually('the reason', async () =>
        /0\/3 nodes are available/.test(await lab.mustKubectl(['describe', 'pod', 'nowhere'])),
      );
      await lab.mustKubectl(['delete', 'pod', 'nowhere']);
    });
    await t.test('names that do not exist', async () => {
      const cases: readonly (readonly [args: string[], complaint: RegExp])[] = [
        [['exec', 'nosuch', '--', 'true'], /no pod for "nosuch" in namespace default/],
        [['exec', 'what/ever', '--', 'true'], /use POD, deploy\/NAME/],
        [['exec', 'inside', '-c', 'no', '--', 'true'], /has no container "no", it has c/],
        [['logs', 'everything'], /use ztunnel, cni-agent, control-plane/],
        [['up', '--nodes', '5'], /this lab has 3 nodes, not 5: run 'aura lab down' first/],
        [['up', '--ztunnel', '/nonexistent'], /--ztunnel \/nonexistent: not an executable file/],
        [['up', '-f', '/nonexistent.yaml'], /\/nonexistent\.yaml: /],
      ];
      for (const [args, complaint] of cases) {
        const result = await lab.aura('lab', ...args);
        assert.equal(result.code, 1, args.join(' '));
        assert.match(result.stderr, complaint);
      }
    });
  });

  test('a network plugin that refuses holds its pod back and nobody else', async () => {
    const confDir = `${lab.paths.run}/nodes/ambient-worker/cni-conf`;
    const file = `${confDir}/10-aura-lab.conflist`;
    const good = readFileSync(file, 'utf8');
    const conf = JSON.parse(good) as { plugins: object[] };
    writeFileSync(file, JSON.stringify({ ...conf, plugins: [...conf.plugins, { type: 'no-such-plugin' }] }));
    const spec = `  nodeName: ambient-worker\n  containers: [{name: c, image: a, command: [sleep, infinity]}]`;
    await lab.apply(podManifest('unplugged', spec));
    await eventually('the event', async () =>
      /FailedCreatePodSandBox.*plugin no-such-plugin/.test(
        await lab.mustKubectl(['describe', 'pod', 'unplugged']),
      ),
    );
    assert.match(await lab.mustKubectl(['get', 'pod', 'unplugged']), /ContainerCreating/);
    await lab.curl(debug, 'http://httpbin/ip');
    writeFileSync(file, good);
    await lab.mustKubectl(['wait', 'pod/unplugged', '--for=condition=Ready', '--timeout=30s']);
    await lab.mustKubectl(['delete', 'pod', 'unplugged']);
  });

  test('a second up changes nothing', async () => {
    const before = await lab.mustKubectl(['get', 'pods', '-A', '-o', 'jsonpath={.items[*].metadata.uid}']);
    const started = Date.now();
    await lab.up();
    assert.ok(Date.now() - started < 5000);
    assert.equal(
      await lab.mustKubectl(['get', 'pods', '-A', '-o', 'jsonpath={.items[*].metadata.uid}']),
      before,
    );
  });

  test('deleting the namespace ends all that was in it', async () => {
    await lab.mustKubectl(['delete', 'pods,jobs,statefulsets', '-n', 'default', '--all', '--timeout=30s']);
    await lab.mustKubectl(['delete', 'ns', 'ambient-demo', '--timeout=30s']);
    // Only the cluster's DNS is left, on disk as in the API.
    await eventually('no pod of it', () => readdirSync(lab.paths.podsDir).length === 1);
  });

  test('down leaves nothing', async () => {
    await lab.must('lab', 'down');
    assert.deepEqual(await lab.leftovers(), []);
    assert.equal(await hostNetwork(), host);
    assert.match((await lab.aura('lab', 'down')).stderr, /there is no lab/);
  });
});

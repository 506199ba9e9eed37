// What `aura-cni` does for one request of the container runtime. ADD: if the pod belongs to the mesh, the node agent
// is asked to set it up, and the pod does not start before that is done. Everything else succeeds and does nothing.
import { addEventPath, pluginEventSocket, pluginIps, type CniIp } from '../plugin-event.ts';
import { eligibility, type SelectablePod } from '../selection.ts';
import { postToAgent } from './agent-call.ts';
import { readPod } from './api-read.ts';
import {
  CniError,
  cniCodes,
  commandOf,
  errorAnswer,
  needEnv,
  parseArgs,
  parseConfig,
  previousResult,
  versionAnswer,
  type Env,
  type NetworkConfig,
} from './cni-protocol.ts';
import { parsePluginConfig, type PluginConfig } from './plugin-config.ts';
import { PluginLog } from './plugin-log.ts';

export interface PluginRequest {
  readonly env: Env;
  readonly stdin: () => Promise<string>;
  readonly stderr: (text: string) => void;
  readonly sleep: (ms: number) => Promise<void>;
}

export interface PluginAnswer {
  readonly exitCode: number;
  readonly stdout: string;
}

/** Name prefix of the node agent's own pods: they must start while there is no agent to ask. */
const agentPodPrefix = 'istio-cni-node-';
const kubeconfigName = 'istio-cni-kubeconfig';
const agentTimeoutMs = 5000;
const readTimeoutMs = 5000;
const logTimeoutMs = 500;

export async function runPlugin(request: PluginRequest): Promise<PluginAnswer> {
  const log = new PluginLog(request.stderr, { containerId: request.env['CNI_CONTAINERID'] });
  let config: NetworkConfig | undefined;
  let runDir: string | undefined;
  try {
    const command = commandOf(request.env);
    if (command === 'VERSION') {
      return { exitCode: 0, stdout: versionAnswer(tryParse(await request.stdin())) };
    }
    // Nothing was made that these could check or remove: a deleted pod's namespace goes with its rules, and the
    // agent learns from the API. A DEL that failed would keep the pod from going.
    if (command !== 'ADD') return { exitCode: 0, stdout: '' };
    const [, netns] = needEnv(request.env, command, 'CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME');
    config = parseConfig(await request.stdin());
    const settings = parsePluginConfig(config);
    runDir = settings.runDir;
    log.setLevel(settings.logLevel);
    const result = previousResult(config);
    await addPod(request, settings, result, netns as string, log);
    return { exitCode: 0, stdout: JSON.stringify(result) };
  } catch (error) {
    const known =
      error instanceof CniError
        ? error
        : new CniError(
            cniCodes.internal,
            `aura-cni failed: ${(error as Error).message}`,
            (error as Error).stack,
          );
    log.log('error', known.message, { code: known.code, details: known.details });
    return { exitCode: 1, stdout: errorAnswer(known, config) };
  } finally {
    if (runDir !== undefined) await log.flush(runDir, logTimeoutMs);
  }
}

function tryParse(text: string): NetworkConfig | undefined {
  try {
    return JSON.parse(text) as NetworkConfig;
  } catch {
    return undefined;
  }
}

async function addPod(
  request: PluginRequest,
  settings: PluginConfig,
  result: Readonly<Record<string, unknown>>,
  netns: string,
  log: PluginLog,
): Promise<void> {
  const args = parseArgs(request.env['CNI_ARGS']);
  const name = args.get('K8S_POD_NAME') ?? '';
  const namespace = args.get('K8S_POD_NAMESPACE') ?? '';
  const pod = `${namespace}/${name}`;
  if (name.startsWith(agentPodPrefix) && namespace === settings.podNamespace) {
    log.log('info', 'the node agent itself is not set up by the node agent', { pod });
    return;
  }
  if (name === '' || namespace === '') {
    log.log('debug', 'not a Kubernetes pod: CNI_ARGS names no pod');
    return;
  }
  if (!settings.ambientEnabled) return;
  if (settings.excludeNamespaces.includes(namespace)) {
    log.log('debug', `namespace ${namespace} is excluded`, { pod });
    return;
  }
  if (!(await belongsToMesh(request, settings, namespace, name, log))) return;
  const ips = Array.isArray(result['ips']) ? (result['ips'] as CniIp[]) : [];
  let addresses;
  try {
    addresses = pluginIps(ips);
  } catch (error) {
    throw new CniError(cniCodes.decode, `prevResult: ${(error as Error).message}`);
  }
  const event = { Netns: netns, PodName: name, PodNamespace: namespace, IPs: addresses };
  const socket = `${settings.runDir}/${pluginEventSocket}`;
  const failed = `pod ${pod} belongs to the mesh, but could not be set up`;
  let answer;
  try {
    answer = await postToAgent(socket, addEventPath, JSON.stringify(event), agentTimeoutMs);
  } catch (error) {
    throw new CniError(
      cniCodes.tryAgain,
      `${failed}: the node agent does not answer at ${socket}`,
      `${(error as Error).message}; is "aura cni-agent" running on this node?`,
    );
  }
  if (answer.status !== 200)
    throw new CniError(
      cniCodes.tryAgain,
      `${failed}: ${answer.body.trim() === '' ? `the node agent answered HTTP ${answer.status}` : answer.body.trim()}`,
    );
  log.log('info', 'pod added to the mesh', { pod, netns });
}

/**
 * Asks the API. While it does not answer, nobody knows whether the pod's traffic must be protected: by default the
 * pod then does not start (after 30 attempts, and the runtime tries again); `enable_ambient_detection_retry: false`
 * lets it start unprotected after 2, as upstream does unless told otherwise.
 */
async function belongsToMesh(
  request: PluginRequest,
  settings: PluginConfig,
  namespace: string,
  name: string,
  log: PluginLog,
): Promise<boolean> {
  const pod = `${namespace}/${name}`;
  const attempts = settings.detectionRetry ? 30 : 2;
  let last = '';
  for (let attempt = 1; attempt <= attempts; attempt++) {
    try {
      const facts = await readPod(`${settings.runDir}/${kubeconfigName}`, namespace, name, readTimeoutMs);
      const verdict = eligibility(facts.pod as SelectablePod, facts.namespaceLabels, settings);
      log.log('debug', verdict.enabled ? 'pod belongs to the mesh' : 'pod does not belong to the mesh', {
        pod,
        reason: verdict.enabled ? verdict.by : verdict.reason,
      });
      return verdict.enabled;
    } catch (error) {
      last = (error as Error).message;
      log.log('warn', 'the API did not say whether the pod belongs to the mesh', {
        pod,
        attempt,
        error: last,
      });
    }
    if (attempt < attempts) await request.sleep(1000);
  }
  if (settings.detectionRetry)
    throw new CniError(
      cniCodes.tryAgain,
      `pod ${pod}: cannot tell whether it belongs to the mesh, so it does not start: ${last}`,
      `${attempts} attempts; "enable_ambient_detection_retry": false in the network configuration would let it start outside of the mesh`,
    );
  log.log('error', 'pod starts outside of the mesh: enable_ambient_detection_retry is false', { pod });
  return false;
}

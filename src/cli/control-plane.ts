// `aura control-plane`: the control plane as a program.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parseControlPlaneConfig, startControlPlane, type ControlPlaneFlags } from '#/control/index.ts';
import { createLogger } from '#/kit/index.ts';
import { KubeClient } from '#/kube/index.ts';

const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];

async function run(flags: ControlPlaneFlags): Promise<void> {
  const config = parseControlPlaneConfig(process.env, flags);
  const log = createLogger({ ...config.log, write: (line) => process.stdout.write(line) }, 'control');
  const stop = new AbortController();
  const end = (name: NodeJS.Signals) => {
    if (stop.signal.aborted) process.exit(1);
    log.info(`${name}: draining`);
    stop.abort(new Error(`ended by ${name}`));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  using client = KubeClient.fromKubeconfig(config.kubeconfig, {
    userAgent: 'aura-control-plane',
    env: process.env,
  });
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  try {
    const running = await startControlPlane(config, { client, log, version, signal: stop.signal });
    await running.done;
  } catch (error) {
    // A start that was called off is no failure.
    if (!stop.signal.aborted) throw error;
  }
}

export function registerControlPlane(program: Command): void {
  program
    .command('control-plane')
    .description('run the control plane: xDS, certificates and status for the mesh')
    .option(
      '--kubeconfig <file>',
      'the Kubernetes API to use; in a pod: its own service account (KUBECONFIG)',
    )
    .option('--namespace <name>', 'where our own objects are (POD_NAMESPACE, istio-system)')
    .option('--cluster-id <id>', 'name of the cluster (CLUSTER_ID, Kubernetes)')
    .option('--trust-domain <domain>', 'of the identities that are given (TRUST_DOMAIN, cluster.local)')
    .option('--domain <suffix>', 'of service names (CLUSTER_DOMAIN, cluster.local)')
    .option('--host <address>', 'to listen on (::)')
    .option('--grpc-port <port>', 'plain xDS, or "off" (15010)')
    .option('--secure-grpc-port <port>', 'xDS and certificates over TLS (15012)')
    .option('--monitoring-port <port>', '/metrics, /version, /debug (15014)')
    .option('--http-port <port>', '/ready (8080)')
    .option('--serving-name <name>', 'one more DNS name for our own certificate (repeatable)', collect)
    .option('--serving-ip <address>', 'an IP address for our own certificate (repeatable)', collect)
    .option('--ca-dir <directory>', 'plug-in CA: ca-cert.pem, ca-key.pem, root-cert.pem … (ROOT_CA_DIR)')
    .option('--waypoint-image <image>', 'that pods of waypoints run (WAYPOINT_IMAGE, aura/aura)')
    .option('--upstream-compat', 'let traffic pass where Istio does; see docs (AURA_UPSTREAM_COMPAT)')
    .option('--log-level <level>', 'trace, debug, info, warn or error (info)')
    .option('--log-format <format>', 'plain or json (plain)')
    .action(run);
}

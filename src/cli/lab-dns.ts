// `aura lab-dns`: the cluster DNS, as the lab's coredns Deployment runs it.
import type { Command } from 'commander';
import { createLogger } from '#/kit/index.ts';
import { KubeClient } from '#/kube/index.ts';
import { startDnsProgram } from '#/lab/index.ts';

export function registerLabDns(program: Command): void {
  program
    .command('lab-dns', { hidden: true })
    .description('run the cluster DNS of a lab')
    .option('--kubeconfig <file>', 'the Kubernetes API; in a pod: its own service account')
    .option('--domain <domain>', 'the cluster domain', 'cluster.local')
    .option('--host <addresses>', 'to listen on, divided by commas', '::')
    .option('--port <port>', 'to listen on', '53')
    .option('--health-port <port>', 'of /health and /ready', '8181')
    .action(
      async (flags: {
        kubeconfig?: string;
        domain: string;
        host: string;
        port: string;
        healthPort: string;
      }) => {
        const write = (line: string): void => void process.stdout.write(line);
        const log = createLogger({ level: 'info', format: 'plain', write }, 'dns');
        using client = KubeClient.fromKubeconfig(flags.kubeconfig, {
          userAgent: 'aura-dns',
          env: process.env,
        });
        const running = await startDnsProgram({
          client,
          domain: flags.domain,
          hosts: flags.host.split(','),
          port: Number(flags.port),
          healthPort: Number(flags.healthPort),
          log,
        });
        await new Promise<void>((resolve) => {
          process.once('SIGTERM', () => resolve());
          process.once('SIGINT', () => resolve());
        });
        await running[Symbol.asyncDispose]();
      },
    );
}

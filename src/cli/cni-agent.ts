// `aura cni-agent`: the node agent. Its settings are environment variables, as of the container it usually runs in.
import type { Command } from 'commander';

interface Options {
  readonly kubeconfig?: string;
  readonly nodeName?: string;
}

export function registerCniAgent(program: Command): void {
  program
    .command('cni-agent')
    .description('run the node agent: redirect the traffic of the pods of the mesh on this node')
    .option('--kubeconfig <file>', 'how to reach the API (default: KUBECONFIG, else the service account)')
    .option('--node-name <name>', 'the node this is (default: NODE_NAME)')
    .action(async (options: Options) => {
      const { parseCniAgentConfig, startCniAgent } = await import('#/cni/index.ts');
      const config = parseCniAgentConfig(process.env, {
        ...(options.kubeconfig === undefined ? {} : { kubeconfig: options.kubeconfig }),
        ...(options.nodeName === undefined ? {} : { nodeName: options.nodeName }),
      });
      const ending = new AbortController();
      const end = () => ending.abort(new Error('ended by a signal'));
      process.once('SIGTERM', end);
      process.once('SIGINT', end);
      try {
        const agent = await startCniAgent(config, { env: process.env, signal: ending.signal });
        if (ending.signal.aborted) await agent.stop();
        else ending.signal.addEventListener('abort', () => void agent.stop(), { once: true });
        await agent.done;
      } catch (error) {
        // A signal during the start is no failure.
        if (!ending.signal.aborted) throw error;
      }
    });
}

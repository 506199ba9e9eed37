// `aura ztunnel`: the node proxy, configured by upstream's environment variables.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { ConfigError, parseZtunnelConfig, startZtunnel } from '#/ztunnel/index.ts';

export function registerZtunnel(program: Command): void {
  program
    .command('ztunnel')
    .description('run the node proxy; it is configured by the environment, as Istio’s is')
    .argument('[mode]', 'proxy', 'proxy')
    .allowExcessArguments()
    .action(async () => {
      const running = await start();
      let signals = 0;
      const onSignal = (): void => {
        // A second signal is from somebody who does not want to wait.
        if (++signals > 1) process.exit(1);
        running.shutdown();
      };
      process.on('SIGTERM', onSignal);
      process.on('SIGINT', onSignal);
      await running.done;
      process.exit(0);
    });
}

function start(): ReturnType<typeof startZtunnel> {
  try {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    return startZtunnel(parseZtunnelConfig(process.env), { version });
  } catch (error) {
    if (error instanceof ConfigError) throw new Error(`ztunnel: ${error.message}`, { cause: error });
    throw error;
  }
}

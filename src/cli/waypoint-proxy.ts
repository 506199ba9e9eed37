// `aura waypoint-proxy`: the proxy of a waypoint, configured by the environment that its Deployment sets.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { ConfigError, parseWaypointConfig, startWaypoint } from '#/waypoint/index.ts';

export function registerWaypointProxy(program: Command): void {
  program
    .command('waypoint-proxy')
    .description('run the proxy of a waypoint; it is configured by the environment')
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

function start(): ReturnType<typeof startWaypoint> {
  try {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    return startWaypoint(parseWaypointConfig(process.env), { version });
  } catch (error) {
    if (error instanceof ConfigError) throw new Error(`waypoint-proxy: ${error.message}`, { cause: error });
    throw error;
  }
}

// `aura lab-app httpbin`: the sample application, which stands behind the image aura/httpbin.
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { startHttpbin } from '#/lab/index.ts';

export function registerLabApp(program: Command): void {
  const app = program.command('lab-app', { hidden: true }).description('run a sample application');
  app
    .command('httpbin')
    .description('a small HTTP application that tells what it sees')
    .option('--host <address>', 'to listen on', '::')
    .option('--port <port>', 'to listen on (PORT)', process.env['PORT'] ?? '80')
    .action(async (flags: { host: string; port: string }) => {
      const podName = process.env['POD_NAME'] ?? hostname();
      const server = await startHttpbin({ host: flags.host, port: Number(flags.port), podName });
      console.log(`listening on ${flags.host} port ${flags.port}`);
      process.once('SIGTERM', () => {
        server.close();
        server.closeAllConnections();
        process.exit(0);
      });
    });
}

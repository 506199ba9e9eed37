// `aura lab-supervisor`: the lab's own process, started by `aura lab up` under a shell that starts it again.
import type { Command } from 'commander';
import { createLogger } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';
import { hopeless, labPaths, readLabConfig, startSupervisor, Supervisor } from '#/lab/index.ts';
import { auraPath } from './lab.ts';

export function registerLabSupervisor(program: Command): void {
  program
    .command('lab-supervisor', { hidden: true })
    .description("run the lab's own process")
    .requiredOption('--home <dir>', "the lab's folder")
    .action(async (flags: { home: string }) => {
      const paths = labPaths(flags.home);
      const log = createLogger(
        { level: 'info', format: 'plain', write: (line) => void process.stderr.write(line) },
        'lab',
      );
      const config = readLabConfig(paths);
      if (config === undefined) {
        log.error(`there is no lab in ${paths.home}`);
        process.exit(hopeless);
      }
      const abort = new AbortController();
      for (const name of ['SIGTERM', 'SIGINT'] as const)
        process.on(name, () => abort.abort(new Error(`ended by ${name}`)));
      // One failed task must not take all nodes down with it; it is logged, and its next round tries again.
      process.on('unhandledRejection', (reason) => log.error('unhandled', { error: errorText(reason) }));
      // The shell that brings us back can be killed too. Then a new one takes over, with a new process: pods do not
      // notice either.
      const parent = process.ppid;
      setInterval(() => {
        if (process.ppid === parent || abort.signal.aborted) return;
        log.warn('the shell that watches over this process is gone: starting another');
        startSupervisor(paths, auraPath);
        process.exit(hopeless);
      }, 1000).unref();
      try {
        await new Supervisor({ paths, config, aura: auraPath, log, signal: abort.signal }).run();
        process.exit(hopeless);
      } catch (error) {
        log.error('the lab cannot run', { error: errorText(error) });
        process.exit(abort.signal.aborted ? hopeless : 1);
      }
    });
}

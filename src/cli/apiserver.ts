// `aura apiserver`: the embedded Kubernetes API as a process of its own.
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { startApiserver } from '#/apiserver/index.ts';
import { createLogger, logLevels, parseHostPort, type LogLevel } from '#/kit/index.ts';

interface Options {
  readonly listen: string;
  readonly data: string;
  readonly kubeconfig: string;
  readonly advertise?: string;
  readonly name: readonly string[];
  readonly serviceCidr: readonly string[];
  readonly sync: 'normal' | 'full';
  readonly logLevel: LogLevel;
}

const collect = (value: string, all: readonly string[]): string[] => [...all, value];

export function registerApiserver(program: Command): void {
  program
    .command('apiserver')
    .description('run the embedded Kubernetes API')
    .requiredOption('--data <dir>', 'where objects, keys and certificates are kept')
    .requiredOption('--kubeconfig <file>', "written when it listens: the administrator's way in")
    .option('--listen <host:port>', 'address to listen on', '127.0.0.1:6443')
    .option('--advertise <host>', 'host that the kubeconfig names, if it is not the one listened on')
    .option(
      '--name <name>',
      "a name or address the server's certificate is valid for (repeatable)",
      collect,
      [],
    )
    .option('--service-cidr <cidr>', 'range of cluster IPs, one for each family (repeatable)', collect, [])
    .addOption(
      new Option('--sync <mode>', 'normal: writes survive a killed process; full: also a loss of power')
        .choices(['normal', 'full'])
        .default('normal'),
    )
    .addOption(new Option('--log-level <level>').choices(logLevels).default('info'))
    .action(async (options: Options) => {
      const listen = parseHostPort(options.listen);
      if (listen === undefined) throw new Error(`--listen ${options.listen}: not host:port`);
      const log = createLogger(
        {
          level: options.logLevel,
          format: 'plain',
          write: (line) => process.stderr.write(line),
        },
        'apiserver',
      );
      const server = await startApiserver(
        {
          host: listen.host,
          port: listen.port,
          dataDir: resolve(options.data),
          kubeconfig: resolve(options.kubeconfig),
          names: options.name,
          sync: options.sync,
          ...(options.advertise === undefined ? {} : { advertise: options.advertise }),
          ...(options.serviceCidr.length === 0 ? {} : { serviceCidrs: options.serviceCidr }),
        },
        { log },
      );
      const { promise, resolve: done } = Promise.withResolvers<string>();
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => done(signal));
      const signal = await promise;
      log.info('stopping', { signal });
      await server[Symbol.asyncDispose]();
    });
}

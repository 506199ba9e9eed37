// `aura lab-app`: the sample applications, which stand behind images such as aura/httpbin and aura/bookinfo-reviews.
import { hostname } from 'node:os';
import { Argument, type Command } from 'commander';
import {
  bookServices,
  startBookinfo,
  startEcho,
  startHttpbin,
  type BookinfoOptions,
  type BookService,
} from '#/lab/index.ts';

interface Listening {
  readonly host: string;
  readonly port: string;
}

const podName = (): string => process.env['POD_NAME'] ?? hostname();

function untilTold(close: () => void, where: string): void {
  console.log(`listening on ${where}`);
  process.once('SIGTERM', () => {
    close();
    process.exit(0);
  });
}

async function bookinfo(service: BookService, { host, port }: Listening): Promise<void> {
  const { SERVICE_VERSION, DETAILS_URL, REVIEWS_URL, RATINGS_URL, TIMEOUT_MS, FAULT } = process.env;
  const options: BookinfoOptions = {
    service,
    version: SERVICE_VERSION ?? 'v1',
    host,
    port: Number(port),
    podName: podName(),
    ...(DETAILS_URL === undefined ? {} : { details: DETAILS_URL }),
    ...(REVIEWS_URL === undefined ? {} : { reviews: REVIEWS_URL }),
    ...(RATINGS_URL === undefined ? {} : { ratings: RATINGS_URL }),
    ...(TIMEOUT_MS === undefined ? {} : { timeoutMs: Number(TIMEOUT_MS) }),
    ...(FAULT === undefined ? {} : { fault: FAULT }),
  };
  const server = await startBookinfo(options);
  untilTold(() => server.closeAllConnections(), `${host} port ${port}`);
}

export function registerLabApp(program: Command): void {
  const app = program.command('lab-app', { hidden: true }).description('run a sample application');
  app
    .command('httpbin')
    .description('a small HTTP application that tells what it sees')
    .option('--host <address>', 'to listen on', '::')
    .option('--port <port>', 'to listen on (PORT)', process.env['PORT'] ?? '80')
    .action(async ({ host, port }: Listening) => {
      const server = await startHttpbin({ host, port: Number(port), podName: podName() });
      untilTold(() => {
        server.close();
        server.closeAllConnections();
      }, `${host} port ${port}`);
    });
  app
    .command('bookinfo')
    .description('one service of a book shop; SERVICE_VERSION says which version, FAULT how it fails')
    .addArgument(new Argument('<service>').choices(bookServices))
    .option('--host <address>', 'to listen on', '::')
    .option('--port <port>', 'to listen on (PORT)', process.env['PORT'] ?? '9080')
    .action(bookinfo);
  app
    .command('echo')
    .description('echoes over TCP, HTTP and WebSocket, and gRPC; SERVICE_VERSION says which version')
    .option('--host <address>', 'to listen on', '::')
    .option('--tcp <port>', 'of TCP', '9000')
    .option('--http <port>', 'of HTTP and WebSocket', '8080')
    .option('--grpc <port>', 'of gRPC', '9090')
    .action(
      async (flags: {
        readonly host: string;
        readonly tcp: string;
        readonly http: string;
        readonly grpc: string;
      }) => {
        const ports = { tcp: Number(flags.tcp), http: Number(flags.http), grpc: Number(flags.grpc) };
        const version = process.env['SERVICE_VERSION'] ?? 'v1';
        await startEcho({ host: flags.host, ports, podName: podName(), version });
        untilTold(() => {}, `${flags.host} ports ${ports.tcp}, ${ports.http} and ${ports.grpc}`);
      },
    );
}

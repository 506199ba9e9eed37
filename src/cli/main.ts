// The `aura` command. Finds the subcommand first and loads only its file, so that a short command starts fast
// and a program never loads the code of the others.
import { Command, CommanderError } from 'commander';
import { errorText } from '#/errors/index.ts';

/** Subcommand → file in this folder, and the line shown by `aura --help`. A hidden one is for the lab's own use. */
const subcommands: Readonly<Record<string, { file: string; summary: string; hidden?: boolean }>> = {
  lab: { file: 'lab.ts', summary: 'make, look into and remove a cluster on this machine' },
  demo: { file: 'demo.ts', summary: 'play the tour of the mesh in a lab of its own' },
  explain: { file: 'explain.ts', summary: 'what a connection would get, hop by hop, and why' },
  analyze: { file: 'analyze.ts', summary: 'find mistakes in the objects of a mesh, in files or live' },
  describe: { file: 'describe.ts', summary: 'what a pod or a service is to the mesh' },
  'proxy-status': {
    file: 'proxy-status.ts',
    summary: 'connected proxies, and whether they have what they should',
  },
  waypoint: { file: 'waypoint.ts', summary: 'make, list, wait for and remove waypoints' },
  version: { file: 'version.ts', summary: 'of this command, of the control plane and of the proxies' },
  apiserver: { file: 'apiserver.ts', summary: 'run the embedded Kubernetes API' },
  'control-plane': { file: 'control-plane.ts', summary: 'run the control plane' },
  'cni-agent': { file: 'cni-agent.ts', summary: 'run the node agent' },
  ztunnel: { file: 'ztunnel.ts', summary: 'run the node proxy' },
  'waypoint-proxy': { file: 'waypoint-proxy.ts', summary: 'run the proxy of a waypoint' },
  'lab-supervisor': { file: 'lab-supervisor.ts', summary: "run the lab's own process", hidden: true },
  'lab-dns': { file: 'lab-dns.ts', summary: 'run the cluster DNS of a lab', hidden: true },
  'lab-app': { file: 'lab-app.ts', summary: 'run a sample application', hidden: true },
};

type Register = (program: Command) => void;

async function load(program: Command, name: string, file: string): Promise<void> {
  const url = new URL(`./${file}`, import.meta.url).href;
  let module: Record<string, unknown>;
  try {
    module = (await import(url)) as Record<string, unknown>;
  } catch (error) {
    // Only the file itself may be absent; what it imports may not.
    if ((error as { code?: string; url?: string }).code === 'ERR_MODULE_NOT_FOUND') {
      if ((error as { url?: string }).url === url) throw new Error(`'${name}' is not part of this build`);
    }
    throw error;
  }
  const register = Object.entries(module).find(([key]) => key.startsWith('register'))?.[1];
  if (typeof register !== 'function') throw new Error(`src/cli/${file} exports no register function`);
  (register as Register)(program);
}

async function main(argv: readonly string[]): Promise<number> {
  const program = new Command('aura')
    .description('An ambient service mesh: mutual TLS, L4 policy and L7 routing without sidecars')
    .showHelpAfterError('(try --help)')
    .exitOverride();
  const wanted = argv.find((arg) => !arg.startsWith('-'));
  const entry = wanted === undefined ? undefined : subcommands[wanted];
  if (wanted !== undefined && entry !== undefined) await load(program, wanted, entry.file);
  for (const [name, { summary, hidden }] of Object.entries(subcommands))
    if (program.commands.every((command) => command.name() !== name))
      program.command(name, { hidden: hidden === true }).description(summary);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    // Help and version are thrown too, with exit code 0; what is wrong with the arguments is printed already.
    if (error instanceof CommanderError) return error.exitCode;
    throw error;
  }
}

try {
  const code = await main(process.argv.slice(2));
  if (code !== 0) process.exitCode = code;
} catch (error) {
  console.error(`aura: ${errorText(error)}`);
  if (process.env['AURA_DEBUG'] !== undefined) console.error(error);
  process.exitCode = 1;
}

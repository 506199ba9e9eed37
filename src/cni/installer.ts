// Keeps the mesh's plugin in the runtime's CNI configuration: put in when there is one, put back when somebody takes
// it out, taken out when the mesh leaves the node. Every file is replaced as a whole, so no runtime reads half of one.
import { watch, type FSWatcher } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '#/errors/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { ClusterConfig } from '#/kube/index.ts';
import type { CniAgentConfig } from './config.ts';
import {
  conflistName,
  ConflistError,
  holdsEntry,
  parseConflist,
  primaryConf,
  withEntry,
  withoutEntry,
  type CniEntry,
} from './conflist.ts';
import { kubeconfigName, launcher, launcherMark, pluginEntry, pluginKubeconfig } from './plugin-files.ts';

export interface InstallerOptions {
  readonly config: CniAgentConfig;
  readonly cluster: ClusterConfig;
  /** The plugin's entry point, and the Node that runs it. */
  readonly program: string;
  readonly node: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onInstall?: (result: 'success' | 'failure') => void;
}

const checkMs = 5000;
const standaloneName = 'YYY-istio-cni.conf';
/** So many repairs in so long mean that somebody else writes the file, too. */
const thrash = { times: 5, withinMs: 60_000 };

export class Installer {
  readonly #options: InstallerOptions;
  readonly #log: Logger;
  readonly #entry: CniEntry;
  #ready = false;
  #said = '';
  #repairs: number[] = [];
  #tail: Promise<unknown> = Promise.resolve();
  #timer: Disposable | undefined;
  #watcher: FSWatcher | undefined;
  #stopped = false;

  constructor(options: InstallerOptions) {
    this.#options = options;
    this.#log = options.log.scope('cni-install');
    this.#entry = pluginEntry(options.config);
  }

  /** True while the plugin is where the runtime will find it. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Installs, now or as soon as there is a configuration to extend, and keeps looking. */
  async start(): Promise<void> {
    await this.#check();
    this.#watch();
    this.#schedule();
  }

  /** Ends the watch; leaves everything in place. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
    this.#watcher?.close();
    await this.#tail;
  }

  /** Takes out what was put in. Says, but does not throw, what could not be. */
  async uninstall(): Promise<void> {
    await this.stop();
    this.#ready = false;
    const { config } = this.#options;
    const { confDir, binDir, pluginType, ownedName } = config.install;
    const attempt = async (what: () => Promise<unknown>) => {
      try {
        await what();
      } catch (error) {
        this.#log.warn(`clean-up: ${errorText(error)}`);
      }
    };
    for (const { name, text } of await this.#confFiles().catch(() => []))
      await attempt(async () => {
        const file = join(confDir, name);
        if (name === ownedName || name === standaloneName) return rm(file, { force: true });
        let without: string | undefined;
        try {
          without = withoutEntry(parseConflist(text, name));
        } catch {
          return; // never ours
        }
        if (without !== undefined) await replaceFile(file, without, (await stat(file)).mode & 0o777);
      });
    if (binDir !== '')
      await attempt(async () => {
        const file = join(binDir, pluginType);
        if ((await readText(file))?.includes(launcherMark) === true) await rm(file);
      });
    await attempt(() => rm(join(config.runDir, kubeconfigName), { force: true }));
    await attempt(() => rm(join(config.runDir, 'compile-cache'), { recursive: true, force: true }));
    this.#log.info('plugin removed from the CNI configuration', { dir: confDir });
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.after(checkMs, () => {
      void this.#check().then(() => this.#schedule());
    });
  }

  #watch(): void {
    try {
      this.#watcher = watch(this.#options.config.install.confDir, { persistent: false }, () => {
        void this.#check();
      });
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      // The directory is not there yet: the timer looks for it.
    }
  }

  #check(): Promise<void> {
    const run = async () => {
      if (this.#stopped) return;
      try {
        await this.#installFiles();
        const problem = await this.#installEntry();
        this.#ready = problem === undefined;
        if (problem !== undefined) this.#say(problem);
        else this.#said = '';
      } catch (error) {
        this.#ready = false;
        this.#options.onInstall?.('failure');
        this.#say(errorText(error));
      }
    };
    const next = this.#tail.then(run, run);
    this.#tail = next;
    return next;
  }

  /** The same trouble is told once, not at every look. */
  #say(problem: string): void {
    if (problem === this.#said) return;
    this.#said = problem;
    this.#log.warn(`plugin not installed: ${problem}`);
  }

  async #installFiles(): Promise<void> {
    const { config, cluster, node, program } = this.#options;
    await mkdir(config.runDir, { recursive: true, mode: 0o755 });
    // Again at every look: the token changes.
    await updateFile(join(config.runDir, kubeconfigName), pluginKubeconfig(cluster), 0o600);
    const { binDir, pluginType } = config.install;
    if (binDir !== '')
      await updateFile(join(binDir, pluginType), launcher(node, program, config.runDir), 0o755);
  }

  /** What is missing, if it is not an error. */
  async #installEntry(): Promise<string | undefined> {
    const { install } = this.#options.config;
    const { confDir, confName, owned, ownedName } = install;
    if (!install.chained) {
      const text = `${JSON.stringify({ cniVersion: '0.3.1', ...this.#entry }, null, 2)}\n`;
      if (await updateFile(join(confDir, standaloneName), text, 0o600)) this.#installed(standaloneName);
      return undefined;
    }
    const files = await this.#confFiles();
    const named =
      confName === ''
        ? undefined
        : files.filter(({ name }) => name === confName || name === conflistName(confName));
    const primary = primaryConf(named ?? files, ownedName);
    if (primary === undefined)
      return confName === ''
        ? `no CNI configuration in ${confDir} yet`
        : `no valid CNI configuration ${join(confDir, confName)} yet`;
    if (owned) {
      if (ownedName >= primary.name)
        throw new ConflistError(
          `${ownedName} must sort before ${primary.name}, or the runtime does not use it`,
        );
      const text = withEntry(primary.conflist, this.#entry, primary.name);
      if (await updateFile(join(confDir, ownedName), text, 0o600)) this.#installed(ownedName);
      return undefined;
    }
    const target = conflistName(primary.name);
    if (target === primary.name && holdsEntry(primary.conflist, this.#entry)) return undefined;
    const mode = (await stat(join(confDir, primary.name))).mode & 0o777;
    await replaceFile(
      join(confDir, target),
      withEntry(primary.conflist, this.#entry, primary.name),
      target === primary.name ? mode : 0o600,
    );
    if (target !== primary.name) await rm(join(confDir, primary.name));
    this.#installed(target);
    return undefined;
  }

  #installed(name: string): void {
    const { clock, config, onInstall } = this.#options;
    onInstall?.('success');
    this.#log.info('plugin is in the CNI configuration', {
      file: join(config.install.confDir, name),
      type: this.#entry.type,
    });
    const now = clock.now();
    this.#repairs = [...this.#repairs.filter((time) => now - time < thrash.withinMs), now];
    if (this.#repairs.length < thrash.times) return;
    this.#repairs = [];
    this.#log.warn(
      'the CNI configuration was put right several times within a minute: another program writes it too (for Cilium, set cni.exclusive=false)',
    );
  }

  async #confFiles(): Promise<{ name: string; text: string }[]> {
    const { confDir } = this.#options.config.install;
    let names: string[];
    try {
      names = await readdir(confDir);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    const files: { name: string; text: string }[] = [];
    for (const name of names.filter((file) => /\.(conf|conflist|json)$/.test(file))) {
      const text = await readText(join(confDir, name));
      if (text !== undefined) files.push({ name, text });
    }
    return files;
  }
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'EISDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** The new file appears at once and whole, under a name that no runtime reads until then. */
async function replaceFile(file: string, text: string, mode: number): Promise<void> {
  const temporary = `${file}.tmp-${process.pid}`;
  try {
    await writeFile(temporary, text, { mode });
    await chmod(temporary, mode);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** True if the file had to be written. */
async function updateFile(file: string, text: string, mode: number): Promise<boolean> {
  if ((await readText(file)) === text && ((await stat(file)).mode & 0o777) === mode) return false;
  await replaceFile(file, text, mode);
  return true;
}

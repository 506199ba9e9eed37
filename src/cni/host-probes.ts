// Lets the host's own probes (the kubelet's) reach the pods of the mesh: a set of pod addresses, and one SNAT rule
// for traffic from the host to them. Works in the network namespace of the agent, which is the node's.
import {
  captureFamilies,
  hasHostRules,
  hostCleanupInput,
  hostRestoreInput,
  ipset,
  nftAddProbe,
  nftHostCleanup,
  nftHostScript,
  nftRemoveProbe,
  nftTables,
  ownChains,
  parseIpset,
  parseNftSet,
  parseSaved,
  probeSets,
  type CaptureSettings,
  type Family,
  type ProbeEntry,
  type SavedRules,
} from '#/capture/index.ts';
import { errorText } from '#/errors/index.ts';
import { isV6, parseIp, type Logger } from '#/kit/index.ts';
import type { RunCommand } from '#/sys/index.ts';
import type { IptablesBinaries } from './iptables-binaries.ts';

export interface HostProbesDeps {
  /** Runs commands in the node's network namespace. */
  readonly run: RunCommand;
  readonly binaries: IptablesBinaries;
  readonly nftables: boolean;
  readonly settings: CaptureSettings;
  /** For the nftables backend: whose sockets are probes. */
  readonly kubeletUid: number;
  readonly log: Logger;
}

const familyOf = (ip: string): Family => (isV6(ip) ? 6 : 4);

export class HostProbes {
  readonly #deps: HostProbesDeps;
  readonly #families: readonly Family[];
  /** Changes run one after the other: they read, then write. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(deps: HostProbesDeps) {
    this.#deps = deps;
    this.#families = captureFamilies(deps.settings);
  }

  /** Makes sets and rules, or puts them right. The sets keep what they hold, so no probe fails in a restart. */
  install(): Promise<void> {
    return this.#queue(async () => {
      const { nftables, settings, kubeletUid, log } = this.#deps;
      if (nftables) {
        await this.#check(['nft', '-f', '-'], nftHostScript(settings, kubeletUid));
        return;
      }
      for (const family of this.#families) {
        await this.#check(ipset.create(family));
        const saved = await this.#saved(family);
        if (hasHostRules(saved, settings, family)) continue;
        const input = hostRestoreInput(saved, settings, family);
        log
          .scope('iptables')
          .info(
            `running ${this.#deps.binaries.restore(family)} on the host with the following input:\n${input.trimEnd()}`,
          );
        await this.#restore(family, input);
      }
    });
  }

  /** Exempts a pod's addresses. An address that is there under another pod's UID now belongs to this one. */
  add(uid: string, ips: readonly string[]): Promise<void> {
    return this.#queue(async () => {
      for (const ip of this.#usable(ips)) await this.#addEntry({ ip, uid });
    });
  }

  /** Ends the exemption of those addresses that are still this pod's; another may have them by now. */
  remove(uid: string, ips: readonly string[]): Promise<void> {
    return this.#queue(async () => {
      for (const family of this.#families) {
        const own = this.#usable(ips).filter((ip) => familyOf(ip) === family);
        if (own.length === 0) continue;
        for (const entry of await this.#list(family))
          if (own.includes(entry.ip) && entry.uid === uid) await this.#removeEntry(family, entry.ip);
      }
    });
  }

  /** Sets the sets to exactly these entries; with `prune` false, nothing is taken out. */
  sync(entries: readonly ProbeEntry[], prune: boolean): Promise<void> {
    return this.#queue(async () => {
      for (const family of this.#families) {
        const held = new Map((await this.#list(family)).map(({ ip, uid }) => [ip, uid]));
        const wanted = new Map(
          entries.flatMap(({ ip, uid }) => this.#usable([ip]).map((address) => [address, uid] as const)),
        );
        for (const [ip, uid] of wanted)
          if (familyOf(ip) === family && held.get(ip) !== uid) await this.#addEntry({ ip, uid });
        if (prune) for (const ip of held.keys()) if (!wanted.has(ip)) await this.#removeEntry(family, ip);
      }
    });
  }

  /** Removes rules and sets. Says, but does not throw, what could not be removed. */
  uninstall(): Promise<void> {
    return this.#queue(async () => {
      const attempt = async (what: () => Promise<unknown>) => {
        try {
          await what();
        } catch (error) {
          this.#deps.log.warn(`host rules: ${errorText(error)}`);
        }
      };
      if (this.#deps.nftables) {
        await attempt(() => this.#check(['nft', '-f', '-'], nftHostCleanup()));
        return;
      }
      for (const family of this.#families) {
        await attempt(async () => {
          const input = hostCleanupInput(await this.#saved(family));
          if (input !== '') await this.#restore(family, input);
        });
        await attempt(() => this.#check(ipset.destroy(family)));
      }
    });
  }

  #usable(ips: readonly string[]): string[] {
    return ips.flatMap((text) => {
      const ip = parseIp(text);
      return ip !== undefined && this.#families.includes(familyOf(ip)) ? [ip] : [];
    });
  }

  async #addEntry(entry: ProbeEntry): Promise<void> {
    const family = familyOf(entry.ip);
    if (this.#deps.nftables) await this.#check(['nft', '-f', '-'], nftAddProbe(family, entry));
    else await this.#check(ipset.add(family, entry));
  }

  async #removeEntry(family: Family, ip: string): Promise<void> {
    if (this.#deps.nftables) await this.#check(['nft', '-f', '-'], nftRemoveProbe(family, ip));
    else await this.#check(ipset.remove(family, ip));
  }

  async #list(family: Family): Promise<readonly ProbeEntry[]> {
    if (this.#deps.nftables)
      return parseNftSet(
        await this.#check(['nft', '-j', 'list', 'set', 'inet', nftTables.nat, probeSets[family]]),
      );
    return parseIpset(await this.#check(ipset.list(family)));
  }

  /** The two chains that matter: the whole table is megabytes where kube-proxy serves a large cluster. */
  async #saved(family: Family): Promise<SavedRules> {
    const list = (chain: string) => [
      this.#deps.binaries.command(family),
      '-w',
      '30',
      '-t',
      'nat',
      '-S',
      chain,
    ];
    const base = await this.#check(list('POSTROUTING'));
    const own = await this.#deps.run(list(ownChains.postrouting));
    const text = base + (own.code === 0 ? own.stdout : '');
    return parseSaved(`*nat\n${text.replaceAll(/^-[PN] (\S+).*/gm, ':$1 - [0:0]')}`);
  }

  async #restore(family: Family, input: string): Promise<void> {
    await this.#check([this.#deps.binaries.restore(family), '--noflush', '--wait=30'], input);
  }

  async #check(argv: readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.#deps.run(argv, { input });
    if (code === 0) return stdout;
    throw new Error(`${argv.join(' ')} on the host failed with exit code ${code}: ${stderr.trim()}`);
  }

  #queue(work: () => Promise<void>): Promise<void> {
    const next = this.#tail.then(work, work);
    this.#tail = next.catch(() => {});
    return next;
  }
}

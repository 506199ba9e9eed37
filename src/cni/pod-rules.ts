// Puts the rules that `capture` wrote into a pod's network namespace, compares, repairs and removes them. Owns the
// order of the commands. Must not know which pods there are, or why one is set up.
import { existsSync, readFileSync } from 'node:fs';
import {
  addRouting,
  captureFamilies,
  cleanupInput,
  compareSaved,
  guardChain,
  guardrailInput,
  nftPodCleanup,
  nftPodScript,
  nftTables,
  parseSaved,
  podRules,
  removeRouting,
  replaceInput,
  restoreInput,
  type CaptureSettings,
  type Family,
  type RoutingCommands,
} from '#/capture/index.ts';
import { errorText } from '#/errors/index.ts';
import type { Logger } from '#/kit/index.ts';
import { systemPath, type Kernel, type Netns, type RunCommand } from '#/sys/index.ts';
import type { IptablesBinaries } from './iptables-binaries.ts';

export interface PodRulesDeps {
  readonly run: RunCommand;
  readonly kernel: Kernel;
  readonly binaries: IptablesBinaries;
  readonly nftables: boolean;
  /** For legacy iptables: our own lock instead of the machine's, which other network plugins hold for long. */
  readonly lockFile?: string | undefined;
  readonly log: Logger;
}

/** A namespace that could not be brought to the wanted state. The message names command, namespace and reason. */
export class RulesError extends Error {
  override readonly name = 'RulesError';
}

export type ApplyResult = 'unchanged' | 'applied' | 'repaired';

const families: readonly Family[] = [4, 6];

export class PodRules {
  readonly #deps: PodRulesDeps;

  constructor(deps: PodRulesDeps) {
    this.#deps = deps;
  }

  /**
   * Brings the namespace to exactly these rules. Rules that are there and right are not touched; where they differ,
   * the pod's traffic is dropped until they are right. `pod` is for the log.
   */
  async apply(netns: Netns, wanted: CaptureSettings, pod: string): Promise<ApplyResult> {
    const settings = { ...wanted, ipv6: wanted.ipv6 && this.#hasIpv6(netns) };
    const { nftables, log } = this.#deps;
    let result: ApplyResult = 'unchanged';
    if (nftables) {
      // One transaction from any state; the route comes after, since without the rules no packet has the mark.
      await this.#nft(netns, nftPodScript(settings));
      await this.#route(netns, settings);
      result = 'applied';
    } else {
      await this.#route(netns, settings);
      for (const family of families) {
        const done = await this.#iptables(netns, settings, family, pod);
        if (done !== 'unchanged' && result !== 'repaired') result = done;
      }
    }
    log.scope('iptables').info(result === 'unchanged' ? 'rules are in place' : `rules ${result}`, { pod });
    return result;
  }

  /** Removes all that is ours, of both backends. Nothing there is no error. */
  async remove(netns: Netns): Promise<void> {
    await this.#removeNft(netns);
    for (const family of families) {
      const input = cleanupInput(parseSaved(await this.#save(netns, family)));
      if (input !== '') await this.#restore(netns, family, input);
    }
    for (const family of families)
      if (family === 4 || this.#hasIpv6(netns))
        for (const command of removeRouting(family)) await this.#ip(netns, command);
  }

  /** Removes what the other backend has left in a pod, after a change of the node's setting. */
  async removeOther(netns: Netns): Promise<void> {
    if (!this.#deps.nftables) return this.#removeNft(netns);
    for (const family of families) {
      const input = cleanupInput(parseSaved(await this.#save(netns, family)));
      if (input !== '') await this.#restore(netns, family, input);
    }
  }

  async #iptables(
    netns: Netns,
    settings: CaptureSettings,
    family: Family,
    pod: string,
  ): Promise<ApplyResult> {
    const wanted = captureFamilies(settings).includes(family);
    const rules = wanted ? podRules(settings, family) : [];
    // Where IPv6 is not wanted, a machine without ip6tables is no reason to refuse the pod.
    const saved = parseSaved(await this.#save(netns, family, !wanted));
    const comparison = compareSaved(saved, rules);
    if (comparison.state === 'equal') return 'unchanged';
    if (comparison.state === 'absent') {
      await this.#restore(netns, family, restoreInput(rules));
      return 'applied';
    }
    const log = this.#deps.log.scope('iptables');
    log.warn('rules differ from what they should be: replacing them', {
      pod,
      family: `ipv${family}`,
      differences: comparison.reasons.join('; '),
    });
    if (saved.get('filter')?.chains.includes(guardChain) !== true)
      await this.#restore(netns, family, guardrailInput());
    const guarded = parseSaved(await this.#save(netns, family));
    try {
      await this.#restore(netns, family, replaceInput(guarded, rules, guardChain));
    } catch (error) {
      throw new RulesError(
        `the traffic of ${pod} is blocked until its rules can be replaced: ${errorText(error)}`,
      );
    }
    const after = parseSaved(await this.#save(netns, family));
    await this.#restore(
      netns,
      family,
      cleanupInput(after, (chain) => chain === guardChain),
    );
    return 'repaired';
  }

  async #route(netns: Netns, settings: CaptureSettings): Promise<void> {
    for (const family of captureFamilies(settings))
      for (const command of addRouting(family, family === 4 || this.#loHasIpv6(netns)))
        await this.#ip(netns, command);
  }

  async #ip(netns: Netns, { argv, done }: RoutingCommands): Promise<void> {
    const { code, stderr } = await this.#deps.run(argv, { netns });
    if (code !== 0 && !done.test(stderr)) throw failure(argv, netns, code, stderr);
  }

  async #save(netns: Netns, family: Family, tolerant = false): Promise<string> {
    const argv = [this.#deps.binaries.save(family)];
    try {
      const { code, stdout, stderr } = await this.#deps.run(argv, { netns });
      if (code === 0) return stdout;
      if (!tolerant) throw failure(argv, netns, code, stderr);
    } catch (error) {
      if (!tolerant) throw error;
    }
    return '';
  }

  async #restore(netns: Netns, family: Family, input: string): Promise<void> {
    const { run, binaries, lockFile, log } = this.#deps;
    const argv = [binaries.restore(family), '--noflush', '-v', '--wait=30'];
    log.scope('iptables').info(`running ${argv.join(' ')} with the following input:\n${input.trimEnd()}`, {
      netns: netns.label,
    });
    const { code, stderr } = await run(argv, {
      netns,
      input,
      env: {
        PATH: systemPath,
        LC_ALL: 'C',
        ...(binaries.kind === 'legacy' && lockFile !== undefined ? { XTABLES_LOCKFILE: lockFile } : {}),
      },
      timeoutMs: 40_000,
    });
    if (code !== 0) throw failure(argv, netns, code, stderr);
  }

  async #nft(netns: Netns, script: string): Promise<void> {
    const argv = ['nft', '-f', '-'];
    this.#deps.log
      .scope('iptables')
      .info(`running ${argv.join(' ')} with the following input:\n${script.trimEnd()}`, {
        netns: netns.label,
      });
    const { code, stderr } = await this.#deps.run(argv, { netns, input: script });
    if (code !== 0) throw failure(argv, netns, code, stderr);
  }

  async #removeNft(netns: Netns): Promise<void> {
    let tables: string;
    try {
      tables = (await this.#deps.run(['nft', 'list', 'tables', 'inet'], { netns })).stdout;
    } catch {
      return; // nft is not installed, so it has left nothing
    }
    if (Object.values(nftTables).some((name) => tables.includes(name)))
      await this.#nft(netns, nftPodCleanup());
  }

  #hasIpv6(netns: Netns): boolean {
    return this.#deps.kernel.inNetns(netns, () => existsSync('/proc/sys/net/ipv6'));
  }

  #loHasIpv6(netns: Netns): boolean {
    // /proc/sys/net shows the namespace of the thread that reads it.
    return this.#deps.kernel.inNetns(
      netns,
      () => readFileSync('/proc/sys/net/ipv6/conf/lo/disable_ipv6', 'utf8').trim() !== '1',
    );
  }
}

function failure(argv: readonly string[], netns: Netns, code: number, stderr: string): RulesError {
  return new RulesError(
    `${argv.join(' ')} in netns ${netns.label} failed with exit code ${code}: ${stderr.trim()}`,
  );
}

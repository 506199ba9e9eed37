// The runtime's CNI configuration as text: which file is in use, our entry put in last, our entry taken out. Pure.
// The rest of a file stays as it is, but for its layout.

export type CniEntry = Readonly<Record<string, unknown>> & { readonly type: string };

interface Conflist {
  readonly cniVersion?: string;
  readonly name?: string;
  readonly plugins: readonly CniEntry[];
  readonly [key: string]: unknown;
}

/** The names under which the mesh's plugin may be chained: one of them at most. */
const ownTypes: readonly string[] = ['aura-cni', 'istio-cni'];

/** A configuration that no runtime would take, or that we cannot extend. */
export class ConflistError extends Error {
  override readonly name = 'ConflistError';
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads a .conflist, or a .conf as a list of one. Throws ConflistError. */
export function parseConflist(text: string, file: string): Conflist {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConflistError(`${file} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (!isRecord(value)) throw new ConflistError(`${file} is not a JSON object`);
  if (value['plugins'] === undefined && typeof value['type'] === 'string') {
    const { cniVersion, ...plugin } = value;
    return {
      name: 'k8s-pod-network',
      ...(typeof cniVersion === 'string' ? { cniVersion } : {}),
      plugins: [plugin as CniEntry],
    };
  }
  const plugins = value['plugins'];
  if (!Array.isArray(plugins)) throw new ConflistError(`${file} has neither "plugins" nor "type"`);
  if (plugins.some((plugin) => !isRecord(plugin) || typeof plugin['type'] !== 'string'))
    throw new ConflistError(`${file} has a plugin without a type`);
  return value as unknown as Conflist;
}

export const isOwnEntry = (entry: CniEntry): boolean => ownTypes.includes(entry.type);

/** The configuration with our entry last, once. Throws ConflistError if no other plugin makes a network first. */
export function withEntry(conflist: Conflist, entry: CniEntry, file: string): string {
  const others = conflist.plugins.filter((plugin) => !isOwnEntry(plugin));
  if (others.length === 0)
    throw new ConflistError(`${file} has no plugin that makes a network: ours only redirects traffic in one`);
  return `${JSON.stringify({ ...conflist, plugins: [...others, entry] }, null, 2)}\n`;
}

/** The configuration without our entry; undefined if it has none. */
export function withoutEntry(conflist: Conflist): string | undefined {
  const plugins = conflist.plugins.filter((plugin) => !isOwnEntry(plugin));
  if (plugins.length === conflist.plugins.length) return undefined;
  return `${JSON.stringify({ ...conflist, plugins }, null, 2)}\n`;
}

/** True if our entry is there, once, last, and exactly this one. */
export function holdsEntry(conflist: Conflist, entry: CniEntry): boolean {
  const own = conflist.plugins.filter(isOwnEntry);
  return own.length === 1 && JSON.stringify(conflist.plugins.at(-1)) === JSON.stringify(entry);
}

/**
 * The file that a runtime would use: the first, in the order of names, that holds a valid configuration of others.
 * `except` is our own file; files of ours alone are passed over.
 */
export function primaryConf(
  files: readonly { readonly name: string; readonly text: string }[],
  except: string,
): { readonly name: string; readonly conflist: Conflist } | undefined {
  const sorted = files
    .filter(({ name }) => /\.(conf|conflist|json)$/.test(name) && name !== except)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  for (const { name, text } of sorted) {
    try {
      const conflist = parseConflist(text, name);
      if (conflist.plugins.some((plugin) => !isOwnEntry(plugin))) return { name, conflist };
    } catch {
      // Half written, or not for the runtime either.
    }
  }
  return undefined;
}

/** A chained `.conf` becomes a `.conflist`, which replaces it. */
export const conflistName = (name: string): string => name.replace(/\.conf$/, '.conflist');

// The CNI protocol, as far as a chained plugin speaks it: a request in environment and stdin, a result or an error
// on stdout (https://www.cni.dev/docs/spec). Knows nothing of the mesh.

/** From the specification; 100 and above are a plugin's own. */
export const cniCodes = {
  incompatibleVersion: 1,
  invalidEnvironment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  tryAgain: 11,
  internal: 999,
} as const;

/** What the runtime shows for a pod that cannot start. */
export class CniError extends Error {
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, message: string, details?: string) {
    super(message);
    this.name = 'CniError';
    this.code = code;
    this.details = details;
  }
}

/** A chained plugin is given the result so far, which exists since 0.3.0. */
export const supportedVersions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
const newestVersion = '1.1.0';

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS' | 'VERSION';
const commands: readonly string[] = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'];

export type Env = Readonly<Record<string, string | undefined>>;
export type NetworkConfig = Readonly<Record<string, unknown>>;

export function commandOf(env: Env): CniCommand {
  const command = env['CNI_COMMAND'];
  if (command === undefined || command === '')
    throw new CniError(
      cniCodes.invalidEnvironment,
      'CNI_COMMAND is not set',
      'this program is a CNI plugin: a container runtime calls it, with its request in the environment',
    );
  if (!commands.includes(command))
    throw new CniError(
      cniCodes.invalidEnvironment,
      `CNI_COMMAND ${JSON.stringify(command)} is not known`,
      `known are ${commands.join(', ')}`,
    );
  return command as CniCommand;
}

/** The value of a variable that the command needs. */
export function needEnv(env: Env, command: CniCommand, ...names: string[]): string[] {
  const missing = names.filter((name) => env[name] === undefined || env[name] === '');
  if (missing.length > 0)
    throw new CniError(cniCodes.invalidEnvironment, `${missing.join(', ')} must be set for ${command}`);
  return names.map((name) => env[name] as string);
}

/** `K8S_POD_NAME=a;K8S_POD_NAMESPACE=b`. Throws for an entry without `=`. */
export function parseArgs(text: string | undefined): ReadonlyMap<string, string> {
  const args = new Map<string, string>();
  for (const pair of (text ?? '').split(';')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    if (equals < 0)
      throw new CniError(
        cniCodes.invalidEnvironment,
        `CNI_ARGS has an entry without "=": ${JSON.stringify(pair)}`,
      );
    args.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return args;
}

/** The network configuration on stdin. Throws unless it is an object in a version that we speak. */
export function parseConfig(stdin: string): NetworkConfig {
  let value: unknown;
  try {
    value = JSON.parse(stdin);
  } catch (error) {
    throw new CniError(
      cniCodes.decode,
      'the network configuration on stdin is not JSON',
      (error as Error).message,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CniError(cniCodes.decode, 'the network configuration on stdin is not an object');
  const config = value as NetworkConfig;
  const version = config['cniVersion'] ?? '0.1.0';
  if (!supportedVersions.includes(version as never))
    throw new CniError(
      cniCodes.incompatibleVersion,
      `cniVersion ${JSON.stringify(version)} is not supported`,
      `supported are ${supportedVersions.join(', ')}`,
    );
  return config;
}

export function versionAnswer(config: NetworkConfig | undefined): string {
  const asked = config?.['cniVersion'];
  return JSON.stringify({
    cniVersion: typeof asked === 'string' ? asked : newestVersion,
    supportedVersions,
  });
}

/** The result so far, unchanged; an empty one if we are the first in the chain. */
export function previousResult(config: NetworkConfig): Readonly<Record<string, unknown>> {
  const previous = config['prevResult'];
  if (previous === undefined || previous === null) return { cniVersion: config['cniVersion'] };
  if (typeof previous !== 'object' || Array.isArray(previous))
    throw new CniError(cniCodes.decode, 'prevResult is not an object');
  const result = previous as Readonly<Record<string, unknown>>;
  return result['cniVersion'] === undefined ? { cniVersion: config['cniVersion'], ...result } : result;
}

export function errorAnswer(error: CniError, config: NetworkConfig | undefined): string {
  const version = config?.['cniVersion'];
  return JSON.stringify({
    cniVersion: typeof version === 'string' ? version : newestVersion,
    code: error.code,
    msg: error.message,
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}

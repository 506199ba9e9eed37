// Settings of a program from a map of environment variables. What cannot be used is an error that names it.
import { logLevels, type LogLevel } from '#/kit/index.ts';

/** A setting that cannot be used. The message names the variable, its value and what is expected. */
export class ConfigError extends Error {}

export type Env = Readonly<Record<string, string | undefined>>;

export interface SettingsReader {
  text(name: string, fallback: string): string;
  flag(name: string, fallback: boolean): boolean;
  flag(name: string, fallback: boolean | undefined): boolean | undefined;
  number(name: string, fallback: number, least?: number, most?: number): number;
  durationMs(name: string, fallback: number): number;
}

export function settingsReader(env: Env): SettingsReader {
  const set = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  return {
    text: (name, fallback) => set(name) ?? fallback,
    flag(name: string, fallback: boolean | undefined) {
      const value = set(name)?.toLowerCase();
      if (value === undefined) return fallback as boolean;
      if (value === 'true' || value === '1') return true;
      if (value === 'false' || value === '0') return false;
      throw new ConfigError(`${name}="${env[name]}" is neither true nor false`);
    },
    number(name, fallback, least = 0, most = 2 ** 31 - 1) {
      const value = set(name);
      if (value === undefined) return fallback;
      const number = Number(value);
      if (!/^[0-9]+$/.test(value) || number < least || number > most) {
        throw new ConfigError(`${name}="${value}" is not a whole number from ${least} to ${most}`);
      }
      return number;
    },
    durationMs(name, fallback) {
      const value = set(name);
      return value === undefined ? fallback : parseDuration(name, value);
    },
  };
}

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** `5s`, `10m`, `1h30m`, `500ms`: to milliseconds. */
export function parseDuration(name: string, text: string): number {
  let rest = text;
  let total = 0;
  while (rest !== '') {
    const part = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/.exec(rest);
    if (part === null) throw new ConfigError(`${name}="${text}" is not a duration such as 5s, 10m or 1h30m`);
    total += Number(part[1]) * unitMs[part[2] as keyof typeof unitMs];
    rest = rest.slice(part[0].length);
  }
  if (text === '') throw new ConfigError(`${name} is empty; expected a duration such as 5s`);
  return total;
}

export function optional<K extends string>(name: K, value: string | undefined): { [P in K]?: string } {
  return (value === undefined || value === '' ? {} : { [name]: value }) as { [P in K]?: string };
}

export function prefixed(env: Env, prefix: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith(prefix) && value !== undefined) found[name.slice(prefix.length)] = value;
  }
  return found;
}

export function withScheme(address: string): string {
  return address === '' || address.includes('://') ? address : `https://${address}`;
}

/** The plain level of `debug,target=trace`; directives per target are for /logging. */
export function logLevelOf(name: string, text: string | undefined): LogLevel {
  const first = text?.split(',').find((part) => !part.includes('='));
  if (first === undefined || first === '') return 'info';
  const level = logLevels.find((known) => known === first.toLowerCase());
  if (level === undefined)
    throw new ConfigError(`${name}="${text}": "${first}" is none of ${logLevels.join(', ')}`);
  return level;
}

// Log lines in the mesh's text form: time, level, scope, message and fields, divided by tabs.
// Pure: a Logger is given the function that writes a line.

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** What a program logs to. `scope` is the part of the program that speaks, such as `xds::client`. */
export interface Logger {
  log(level: LogLevel, message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same sink under another scope. */
  scope(scope: string): Logger;
}

export interface LogOptions {
  /** The least level that is written; a function where it can change. */
  readonly level: LogLevel | (() => LogLevel);
  readonly format: 'plain' | 'json';
  readonly write: (line: string) => void;
  readonly now?: () => number;
}

/** RFC 3339 in UTC with six digits of fraction, from milliseconds since the epoch. */
export function timestamp(ms: number): string {
  const iso = new Date(ms).toISOString();
  return `${iso.slice(0, 23)}${String(Math.floor((ms * 1000) % 1000)).padStart(3, '0')}Z`;
}

const bare = /^[A-Za-z0-9_.:/@%+\-[\]]*$/;

/** Strings are quoted unless every character is plain; numbers and booleans are bare. */
export function formatField(value: string | number | boolean): string {
  return typeof value !== 'string' || (bare.test(value) && value !== '')
    ? String(value)
    : JSON.stringify(value);
}

export function formatPlain(
  ms: number,
  level: LogLevel,
  scope: string,
  message: string,
  fields: LogFields,
): string {
  let text = `${timestamp(ms)}\t${level}\t${scope}\t${message}`;
  let divider = '\t';
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    text += `${divider}${key}=${formatField(value)}`;
    divider = ' ';
  }
  return text;
}

/** Whether a line of `level` is written where `least` is the least level wanted. */
export function reaches(level: LogLevel, least: LogLevel): boolean {
  return logLevels.indexOf(level) >= logLevels.indexOf(least);
}

export function createLogger(options: LogOptions, scope: string): Logger {
  const { level: least } = options;
  const now = options.now ?? Date.now;
  const log = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (!reaches(level, typeof least === 'function' ? least() : least)) return;
    options.write(
      options.format === 'json'
        ? `${JSON.stringify({ level, time: timestamp(now()), scope, message, ...fields })}\n`
        : `${formatPlain(now(), level, scope, message, fields)}\n`,
    );
  };
  return {
    log,
    debug: (message, fields) => log('debug', message, fields),
    info: (message, fields) => log('info', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    error: (message, fields) => log('error', message, fields),
    scope: (other) => createLogger(options, other),
  };
}

/** For tests and for parts that were given no logger. */
export const silentLogger: Logger = createLogger(
  { level: 'error', format: 'plain', write: () => {} },
  'silent',
);

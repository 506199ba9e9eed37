// The plugin's log. stdout belongs to the protocol: lines go to stderr, to the agent's log socket (so that they show
// up in its log) and to a file beside it (for the time when the agent is away).
import { appendFileSync, renameSync, statSync } from 'node:fs';
import { logPath, logSocket } from '../plugin-event.ts';
import { postToAgent } from './agent-call.ts';

const levels = ['debug', 'info', 'warn', 'error'];
type Level = 'debug' | 'info' | 'warn' | 'error';

const maxLines = 200;
const maxFileBytes = 10 * 1024 * 1024;
const logFile = 'istio-cni.log';

export class PluginLog {
  #lines: string[] = [];
  #level = 'info';
  readonly #stderr: (text: string) => void;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(stderr: (text: string) => void, fields: Readonly<Record<string, unknown>>) {
    this.#stderr = stderr;
    this.#fields = fields;
  }

  setLevel(level: string): void {
    if (levels.includes(level)) this.#level = level;
  }

  log(level: Level, msg: string, fields: Readonly<Record<string, unknown>> = {}): void {
    if (levels.indexOf(level) < levels.indexOf(this.#level)) return;
    const line = JSON.stringify({
      level,
      time: new Date().toISOString(),
      scope: 'cni-plugin',
      msg,
      ...this.#fields,
      ...fields,
    });
    this.#stderr(`${line}\n`);
    if (this.#lines.length < maxLines) this.#lines.push(line);
  }

  /** Hands the lines on. Never fails, and takes no longer than the given time. */
  async flush(runDir: string, timeoutMs: number): Promise<void> {
    const lines = this.#lines;
    this.#lines = [];
    if (lines.length === 0) return;
    writeFile(`${runDir}/${logFile}`, lines);
    await postToAgent(`${runDir}/${logSocket}`, logPath, JSON.stringify(lines), timeoutMs).catch(() => {});
  }
}

function writeFile(path: string, lines: readonly string[]): void {
  try {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size > maxFileBytes) renameSync(path, `${path}.1`);
    appendFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 });
  } catch {
    // No run directory: the agent was never here, or has cleaned up. stderr has the lines.
  }
}

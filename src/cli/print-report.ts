// `-o` of commands that report: text for people, JSON or YAML of a stable shape for programs.
import { Option, type Command } from 'commander';
import { stringify } from 'yaml';

export interface OutputFlags {
  readonly output: 'text' | 'json' | 'yaml';
}

export function outputOption(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how to print').choices(['text', 'json', 'yaml']).default('text'),
  );
}

export function printReport(report: unknown, text: () => string, { output }: OutputFlags): void {
  process.stdout.write(
    output === 'json'
      ? `${JSON.stringify(report, undefined, 2)}\n`
      : output === 'yaml'
        ? stringify(report, { aliasDuplicateObjects: false })
        : text(),
  );
}

/** Columns as wide as their widest cell, and a gap; the last one as it is. */
export function table(rows: readonly (readonly string[])[], gap = 3): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd((widths[i] ?? 0) + gap)))
        .join('')
        .trimEnd(),
    )
    .join('\n');
}

// Writes the pages that are made from the code. `--check` only compares, and fails if one is out of date.
import { readFileSync, writeFileSync } from 'node:fs';
import { errorRegistry } from '#/errors/index.ts';

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

export function errorsPage(): string {
  const rows = Object.entries(errorRegistry).map(([code, entry]) =>
    row([`\`${code}\``, entry.text, entry.cause, `\`${entry.flag}\``, entry.level]),
  );
  return `# Errors

What can end a connection, as \`error=\` in the access log and as \`response_flags\` in the metrics. A line may say more
than the text here: it names the policy, the address or the peer. This page is made from \`src/errors/registry.ts\` by
\`node scripts/gen-docs.ts\`.

${row(['code', 'text', 'likely cause', 'response flag', 'level'])}
|---|---|---|---|---|
${rows.join('\n')}
`;
}

const pages = { 'docs/errors.md': errorsPage };

if (import.meta.main) {
  const check = process.argv.includes('--check');
  for (const [path, make] of Object.entries(pages)) {
    const url = new URL(`../${path}`, import.meta.url);
    if (!check) writeFileSync(url, make());
    else if (readFileSync(url, 'utf8') !== make()) {
      console.error(`${path} is out of date: run \`node scripts/gen-docs.ts\``);
      process.exitCode = 1;
    }
  }
}

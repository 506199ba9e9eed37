// Writes the pages and manifests that are made from the code. `--check` only compares, and fails if one is out of date.
import { readFileSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { findingRegistry } from '#/analysis/index.ts';
import { defaultDefinitions } from '#/apiserver/index.ts';
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

export function analyzePage(): string {
  const rows = Object.entries(findingRegistry).map(([code, { name, level, means, fix }]) =>
    row([`\`${code}\``, name, level, means, fix]),
  );
  return `# What aura analyze finds

\`aura analyze -f manifests/\` looks at files, \`aura analyze\` at a running cluster. Each finding has a code that stays
the same, a level, the object with its file and line, what is wrong in this case, and a way out. Exit code 79 means that
there are findings at or above \`--fail-on\` (error); \`-S CODE\` leaves a code out; \`-o json\` is for programs.

From files alone, what only a cluster can tell is assumed: pods run, are ready and captured if their labels say so, and
waypoints are ready. Codes AUR0101, AUR0106 and AUR08xx need a running cluster. This page is made from
\`src/analysis/finding-registry.ts\` by \`node scripts/gen-docs.ts\`.

${row(['code', 'name', 'level', 'what it means', 'the way out'])}
|---|---|---|---|---|
${rows.join('\n')}
`;
}

/** The kinds of our own, for a cluster that has not got them. Those of Istio and the Gateway API come from their releases. */
export function ownDefinitions(): string {
  const own = defaultDefinitions().filter(({ metadata }) => metadata.name.endsWith('.aura.io'));
  const head = '# Made from src/apiserver/crd by `node scripts/gen-docs.ts`.\n';
  return (
    head + own.map((definition) => stringify(definition, { aliasDuplicateObjects: false })).join('---\n')
  );
}

const pages = {
  'docs/errors.md': errorsPage,
  'docs/analyze.md': analyzePage,
  'deploy/aura-crds.yaml': ownDefinitions,
};

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

// One folder per combination of settings: settings.json is all the input, the other files all the output.
// UPDATE_GOLDEN=1 writes them anew.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  addRouting,
  captureDefaults,
  captureFamilies,
  compareSaved,
  hostRestoreInput,
  nftHostScript,
  nftPodScript,
  parseSaved,
  podRules,
  removeRouting,
  restoreInput,
  type CaptureSettings,
} from './index.ts';

const root = new URL('golden/', import.meta.url);

function render(settings: CaptureSettings): Record<string, string> {
  const files: Record<string, string> = {};
  for (const family of captureFamilies(settings)) {
    const iptables = family === 4 ? 'iptables' : 'ip6tables';
    files[`${iptables}.pod.txt`] = restoreInput(podRules(settings, family));
    files[`${iptables}.host.txt`] = hostRestoreInput(new Map(), settings, family);
  }
  files['nft.pod.txt'] = nftPodScript(settings);
  files['nft.host.txt'] = nftHostScript(settings, 0);
  const lines = (make: typeof addRouting) =>
    captureFamilies(settings)
      .flatMap((family) => make(family))
      .map(({ argv }) => `${argv.join(' ')}\n`)
      .join('');
  files['routing.txt'] = lines(addRouting) + lines(removeRouting);
  return files;
}

for (const name of readdirSync(root)) {
  test(`rules for ${name.replaceAll('-', ' ')}`, () => {
    const folder = new URL(`${name}/`, root);
    const given = JSON.parse(readFileSync(new URL('settings.json', folder), 'utf8')) as object;
    const settings: CaptureSettings = { ...captureDefaults, ...given };
    const files = render(settings);
    if (process.env['UPDATE_GOLDEN'] !== undefined)
      for (const [file, text] of Object.entries(files)) writeFileSync(new URL(file, folder), text);
    assert.deepEqual(readdirSync(folder).sort(), ['settings.json', ...Object.keys(files)].sort());
    for (const [file, text] of Object.entries(files)) {
      const url = new URL(file, folder);
      assert.ok(existsSync(url), `${file} is missing: run with UPDATE_GOLDEN=1`);
      assert.equal(text, readFileSync(url, 'utf8'), `${name}/${file}`);
    }
    for (const family of captureFamilies(settings)) {
      const rules = podRules(settings, family);
      assert.deepEqual(compareSaved(parseSaved(asSaved(restoreInput(rules))), rules), { state: 'equal' });
    }
  });
}

/** What iptables-save prints after this input was restored. */
function asSaved(input: string): string {
  return input.replace(/^-N (\S+)$/gm, ':$1 - [0:0]');
}

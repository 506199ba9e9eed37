// `aura demo`: the tour of the mesh, in two parts, each played in a lab of its own.
import { resolve } from 'node:path';
import { Argument, type Command } from 'commander';
import { playTour, type Narrator, type TourOptions } from '#/lab/index.ts';
import { auraPath, thisLab } from './lab.ts';

const plain = process.env['NO_COLOR'] !== undefined || process.stdout.isTTY !== true;
const style = (code: number, text: string): string => (plain ? text : `\u001b[${code}m${text}\u001b[0m`);

const narrator: Narrator = {
  step: (number, title) => console.log(`\n${style(1, `== ${number}. ${title}`)}`),
  say: (text) => console.log(text),
  command: (text) => console.log(style(36, `$ ${text}`)),
  show: (text) => console.log(style(2, `    ${text}`)),
};

type Part = NonNullable<TourOptions['part']>;
const chosen: Readonly<Record<string, readonly Part[]>> = {
  mesh: ['mesh'],
  waypoint: ['waypoint'],
  all: ['mesh', 'waypoint'],
};

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('play the tour of the mesh in a lab of its own, check every step, remove everything')
    .addArgument(
      new Argument(
        '[part]',
        'mesh: tunnels and L4 policy; waypoint: routes and policies of requests; all: both',
      )
        .choices(Object.keys(chosen))
        .default('mesh'),
    )
    .action(async (part: string) => {
      const abort = new AbortController();
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
        process.on(name, () => {
          if (!abort.signal.aborted) console.log(`\n${name}: taking the lab down`);
          abort.abort(new Error(`ended by ${name}`));
        });
      const started = Date.now();
      try {
        for (const one of chosen[part] ?? [])
          await playTour({
            part: one,
            paths: thisLab(),
            aura: auraPath,
            samples: resolve(import.meta.dirname, '../../samples'),
            tell: narrator,
            signal: abort.signal,
          });
      } catch (error) {
        // As a shell would say it: the tour did not fail, it was ended.
        if (error !== abort.signal.reason) throw error;
        process.exit(130);
      }
      console.log(`\nThe tour is over: every check held, in ${Math.round((Date.now() - started) / 1000)} s.`);
    });
}

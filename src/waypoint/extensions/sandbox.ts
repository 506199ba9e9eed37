// A module of an extension, loaded where it sees nothing of the thread: a context of its own with the language's own
// objects, no imports, no code made from texts.
import { stripTypeScriptTypes } from 'node:module';
import { constants, createContext, runInContext, SourceTextModule, type Context, type Module } from 'node:vm';
import { prelude, type Sandboxed } from './prelude.ts';
import { limits, phases, type ThreadInit } from './protocol.ts';

/**
 * What `import()` gives back is made in the thread's realm and would be a way into it, so that a module with it is not
 * loaded at all. A text or comment that looks like it is refused too. The keyword cannot be written otherwise.
 */
const dynamicImport =
  /(?<![\w$.#])import(?:\s|\/\*[\s\S]*?\*\/|\/\/[^\n\r\u2028\u2029]*[\n\r\u2028\u2029])*[(.]/u;

export interface LoadedModule {
  readonly phases: number;
  dispatch: Sandboxed['dispatch'];
}

/** Rejects if the module cannot be loaded; the message says why. */
export async function loadModule(
  { source: text, language, config, loadMs }: ThreadInit,
  settle: (id: number, answer: string) => void,
): Promise<LoadedModule> {
  const source = language === 'typescript' ? stripTypeScriptTypes(text) : text;
  if (dynamicImport.test(source)) throw new Error('import() and import.meta are not there for extensions');
  const context: Context = createContext(constants.DONT_CONTEXTIFY, {
    name: 'extension',
    codeGeneration: { strings: false, wasm: false },
  });
  const start = runInContext(`(${prelude.toString()})`, context, {
    filename: 'aura:prelude',
  }) as typeof prelude;
  const sandboxed = start(config, JSON.stringify(limits), JSON.stringify(phases), settle);
  const module = new SourceTextModule(source, { context, identifier: 'extension' });
  await module.link(refuseImport);
  await module.evaluate({ timeout: loadMs });
  const bound = sandboxed.bind(module.namespace);
  if (typeof bound === 'string') throw new Error(bound);
  return { phases: bound, dispatch: sandboxed.dispatch };
}

function refuseImport(specifier: string): Module {
  throw new Error(`it imports "${specifier}": an extension is one file, without imports but types`);
}

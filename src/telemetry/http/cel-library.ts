// The CEL library, loaded with the first expression: 8 MB in each thread of programs that have none, as ztunnel.
import type * as cel from '@marcbachmann/cel-js';
import { createRequire } from 'node:module';

type Library = typeof cel;

let library: Library | undefined;

export const loadCel = (): Library =>
  (library ??= createRequire(import.meta.url)('@marcbachmann/cel-js') as Library);

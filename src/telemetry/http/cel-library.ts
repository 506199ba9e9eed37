// The CEL library as expressions of telemetry need it. Loaded with the first expression: it takes 8 MB in each thread,
// and programs as ztunnel have none.
import type * as cel from '@marcbachmann/cel-js';
import type * as re2 from 're2js';
import { createRequire } from 'node:module';

type Library = typeof cel;

const require = createRequire(import.meta.url);
let library: Library | undefined;

export const loadCel = (): Library => (library ??= require('@marcbachmann/cel-js') as Library);

// The library's `matches` backtracks and compiles its pattern for every call; the text is the client's. Here it is RE2.
const linearMatches = 'matchesInLinearTime';
const longestPattern = 4096;
const maxPatterns = 256;
const patterns = new Map<string, re2.RE2JS>();

/** Throws an Error if the pattern is not RE2 syntax. */
function compiled(pattern: string): re2.RE2JS {
  let found = patterns.get(pattern);
  if (found === undefined) {
    if (pattern.length > longestPattern)
      throw new Error(`a pattern of ${pattern.length} characters is longer than ${longestPattern}`);
    found = (require('re2js') as typeof re2).RE2JS.compile(pattern);
    if (patterns.size >= maxPatterns) patterns.clear();
    patterns.set(pattern, found);
  }
  return found;
}

const matches = (text: string, pattern: string): boolean => compiled(pattern).matcher(text).find();

/** An environment with a limit on the size of expressions, which come from objects that users write. */
export function makeEnvironment(variables: Iterable<string>): cel.Environment {
  const environment = new (loadCel().Environment)({
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: 2000, maxDepth: 64 },
  });
  for (const variable of variables) environment.registerVariable(variable, 'map');
  environment.registerFunction('matches(string, string): bool', matches);
  environment.registerFunction(`string.${linearMatches}(string): bool`, matches);
  return environment;
}

interface Node {
  readonly op: unknown;
  readonly args: unknown;
}
const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'op' in value && 'args' in value;

/** Renames calls of `matches` in place, and tries patterns that are literals. */
function renameMatches(node: unknown): void {
  if (Array.isArray(node)) node.forEach(renameMatches);
  if (!isNode(node)) return;
  const { op, args } = node;
  if ((op === 'rcall' || op === 'call') && Array.isArray(args) && args[0] === 'matches') {
    if (op === 'rcall') args[0] = linearMatches;
    const given = args.at(-1) as unknown;
    const pattern: unknown = Array.isArray(given) ? given.at(-1) : undefined;
    if (isNode(pattern) && pattern.op === 'value' && typeof pattern.args === 'string') compiled(pattern.args);
  }
  renameMatches(args);
}

/** Throws an Error for what does not parse, and for literal patterns that are not RE2 syntax. */
export function parseCel(environment: cel.Environment, expression: string): cel.ParseResult {
  const parsed = environment.parse(expression);
  if (!expression.includes('matches')) return parsed;
  renameMatches(parsed.ast);
  // Parsed anew, so that nothing was bound to the old name.
  return environment.parse(loadCel().serialize(parsed.ast));
}

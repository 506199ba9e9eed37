// The filter of the Telemetry API: which requests are logged.
import { compileCel } from './cel-program.ts';
import type { AnyRecord } from './exchange-record.ts';

export interface AccessFilter {
  matches(record: AnyRecord): boolean;
  readonly problem?: string;
}

const everything = (): boolean => true;

/**
 * A filter that does not compile lets every line through and reports a problem: a log that is too long is noticed,
 * a log that is missing is not. One that cannot be evaluated for a request does not match, as in Envoy.
 */
export function compileAccessFilter(expression: string | undefined): AccessFilter {
  if (expression === undefined || expression.trim() === '') return { matches: everything };
  const compiled = compileCel(expression);
  if (!compiled.ok)
    return {
      matches: everything,
      problem: `filter "${expression}" does not compile, everything is logged: ${compiled.problem}`,
    };
  const { run, type } = compiled;
  if (type !== 'bool' && type !== 'dyn')
    return {
      matches: everything,
      problem: `filter "${expression}" gives ${type}, not bool: everything is logged`,
    };
  return { matches: (record) => run(record) === true };
}

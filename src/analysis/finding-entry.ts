// One kind of mistake.
export type Level = 'error' | 'warn' | 'info';

export interface FindingEntry {
  readonly name: string;
  readonly level: Level;
  /** What is wrong, in general. */
  readonly means: string;
  /** The way out. */
  readonly fix: string;
}

export const entry = (name: string, level: Level, means: string, fix: string): FindingEntry => ({
  name,
  level,
  means,
  fix,
});

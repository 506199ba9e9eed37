// Figures of a bench: medians over rounds, ratios of pairs of one round, and their table.

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly direct?: number;
  readonly mesh: number;
  /** mesh ÷ direct of the same round, median over rounds. */
  readonly ratio?: number;
}

export function pairedRow(
  name: string,
  unit: string,
  pairs: readonly { direct: number; mesh: number }[],
): Row {
  return {
    name,
    unit,
    direct: median(pairs.map(({ direct }) => direct)),
    mesh: median(pairs.map(({ mesh }) => mesh)),
    ratio: median(pairs.map(({ direct, mesh }) => mesh / direct)),
  };
}

const number = (value: number | undefined): string =>
  value === undefined ? '' : value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);

export function table(rows: readonly Row[]): string {
  const cells = [
    ['', 'unit', 'direct', 'mesh', 'ratio'],
    ...rows.map((row) => [
      row.name,
      row.unit,
      number(row.direct),
      number(row.mesh),
      row.ratio?.toFixed(2) ?? '',
    ]),
  ];
  const widths = [0, 1, 2, 3, 4].map((i) => Math.max(...cells.map((line) => (line[i] as string).length)));
  return cells
    .map((line) =>
      line
        .map((cell, i) => (i < 2 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
        .join('  '),
    )
    .join('\n');
}

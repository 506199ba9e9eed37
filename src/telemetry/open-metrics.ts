// OpenMetrics text. The same text serves both content types, as upstream does.
import type { MetricFamily } from './families.ts';

export interface Sample {
  /** What follows the family's name: `_total`, `_bucket`, `_sum`, `_count` or nothing. */
  readonly suffix: string;
  /** What stands between the braces; empty for none. */
  readonly labels: string;
  readonly value: number;
}

export interface CollectedFamily {
  readonly family: MetricFamily;
  readonly samples: Iterable<Sample>;
}

function headOf(family: MetricFamily): string {
  const unit = family.unit === undefined ? '' : `# UNIT ${family.name} ${family.unit}\n`;
  return `# HELP ${family.name} ${family.help}.\n# TYPE ${family.name} ${family.type}\n${unit}`;
}

// About this much text is put together before it is given out.
const chunkSize = 64 * 1024;

/** The text in pieces of some 64 KiB, so that a large answer never stands in memory whole. Families without samples are left out. */
export function* openMetrics(collected: Iterable<CollectedFamily>): IterableIterator<string> {
  let text = '';
  for (const { family, samples } of collected) {
    let head = headOf(family);
    for (const { suffix, labels, value } of samples) {
      const braces = labels === '' ? '' : `{${labels}}`;
      text += `${head}${family.name}${suffix}${braces} ${value}\n`;
      head = '';
      if (text.length < chunkSize) continue;
      yield text;
      text = '';
    }
  }
  yield `${text}# EOF\n`;
}

/** The content type for an Accept header. */
export function metricsContentType(accept: string | undefined): string {
  const wanted = (accept ?? '')
    .toLowerCase()
    .split(',')
    .some((entry) => entry.split(';')[0]?.trim() === 'application/openmetrics-text');
  return wanted ? 'application/openmetrics-text;charset=utf-8;version=1.0.0' : 'text/plain; charset=utf-8';
}

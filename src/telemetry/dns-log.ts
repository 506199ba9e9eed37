// The lines of the DNS log: one per question, at debug, under the target `dns`. As upstream they have no message.
import { accessTime, quote, type AccessLogFormat } from './access-log.ts';

export interface DnsLogRecord {
  /** Of the pod that asked. */
  readonly workload?: string | undefined;
  readonly namespace?: string | undefined;
  /** The type that was asked for. */
  readonly query: string;
  readonly domain: string;
  readonly result: string;
  /** Records in the answer; addresses, if the answer is ours. */
  readonly endpoints: number;
}

/** One line, without the line break. `ms`: milliseconds since the epoch, with a fraction if there is one. */
export function formatDns(record: DnsLogRecord, format: AccessLogFormat, ms: number): string {
  const { workload = 'unknown', namespace = 'unknown', query, domain, result, endpoints } = record;
  const fields = Object.entries({
    'src.workload': workload,
    'src.namespace': namespace,
    query,
    domain,
    result,
  });
  if (format === 'json') {
    const texts = fields.map(([name, value]) => `"${name}":${JSON.stringify(value)}`).join();
    return `{"level":"debug","time":"${accessTime(ms)}","scope":"dns",${texts},"endpoints":${endpoints}}`;
  }
  const texts = fields.map(([name, value]) => `${name}=${quote(value)}`).join(' ');
  return `${accessTime(ms)}\tdebug\tdns\t${texts} endpoints=${endpoints}`;
}

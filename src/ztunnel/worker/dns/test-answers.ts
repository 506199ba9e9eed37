// Questions and answers for tests of the DNS proxy, made with a library of its own.
import { encode, type Packet } from 'dns-packet';
import { readDnsAnswer, readDnsRequest, type DnsAnswer, type DnsQuery } from '#/wire/index.ts';

export type QuestionType = 'A' | 'AAAA' | 'TXT' | 'SRV';

export const optRecord = (fields: object = {}) =>
  ({ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [], ...fields }) as never;

export function aMessage(name: string, type: QuestionType = 'A', extra: Packet = {}): Buffer {
  return encode({ type: 'query', id: 7, flags: 0x100, questions: [{ name, type }], ...extra });
}

export function aQuery(name: string, type: QuestionType = 'A', extra: Packet = {}): DnsQuery {
  const request = readDnsRequest(aMessage(name, type, extra));
  if (request.kind !== 'query') throw new Error(`${name} is no question`);
  return request.query;
}

/** What a name server says to it. */
export function anAnswer(query: DnsQuery, packet: Packet, code = 0): DnsAnswer {
  const [name, type] = [query.question.name, query.question.type];
  // The question as it was, since the library knows texts only.
  const bytes = encode({ type: 'response', id: 1, flags: 0x180 | code, ...packet });
  const question = Buffer.from([
    ...name,
    type >> 8,
    type & 0xff,
    query.question.class >> 8,
    query.question.class & 0xff,
  ]);
  const whole = Buffer.concat([bytes.subarray(0, 12), question, bytes.subarray(12)]);
  whole.writeUInt16BE(1, 4);
  const answer = readDnsAnswer(whole, 1, query.question);
  if (answer === undefined) throw new Error('no answer to the question');
  return answer;
}

/** One address. */
export const addressAnswer = (query: DnsQuery, data: string, ttl = 60): DnsAnswer =>
  anAnswer(query, { answers: [{ name: 'x', type: 'A', ttl, data }] });

// The target of DNS messages: any bytes may be a request or a name server's answer; what is let through can be
// written for a client, within its limit, and read again.
import assert from 'node:assert/strict';
import {
  datagramLimit,
  encodeDnsQuery,
  encodeDnsReply,
  hostnameOf,
  questionText,
  readDnsAnswer,
  readDnsRequest,
  type DnsQuery,
  type DnsQuestion,
} from '../src/wire/index.ts';

export function runDnsMessage(input: Uint8Array): void {
  const request = readDnsRequest(input);
  if (request.kind === 'query') {
    const { query } = request;
    const again = readDnsRequest(
      encodeDnsQuery(query.question, { id: query.id, checkingDisabled: query.checkingDisabled }),
    );
    assert.ok(again.kind === 'query');
    assert.equal(questionText(again.query.question), questionText(query.question));
    hostnameOf(query.question.name);
  } else if (request.kind === 'refuse') assert.equal(request.reply.length, 12);
  const question = questionIn(input);
  if (question !== undefined) tryAnswer(input, question);
}

function tryAnswer(input: Uint8Array, question: DnsQuestion): void {
  const id = ((input[0] as number) << 8) | (input[1] as number);
  const answer = readDnsAnswer(input, id, question);
  if (answer === undefined) return;
  const query: DnsQuery = {
    id,
    question,
    recursionDesired: true,
    authenticData: false,
    checkingDisabled: false,
  };
  const extended: DnsQuery = { ...query, extension: { payloadSize: 600, version: 0, dnssecOk: false } };
  for (const asked of [query, extended])
    for (const age of [0, 1000]) {
      const reply = encodeDnsReply(asked, answer, datagramLimit(asked), age);
      assert.ok(reply.length <= datagramLimit(asked));
      const read = readDnsAnswer(reply, id, question);
      assert.ok(read !== undefined);
      assert.ok(read.answers <= answer.answers && read.ends.length <= answer.ends.length);
    }
}

/** The question of any message, so that answers get past the comparison. */
function questionIn(input: Uint8Array): DnsQuestion | undefined {
  if (input.length < 12) return undefined;
  const copy = Uint8Array.from(input);
  copy.set([0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 2);
  const request = readDnsRequest(copy);
  return request.kind === 'query' ? request.query.question : undefined;
}

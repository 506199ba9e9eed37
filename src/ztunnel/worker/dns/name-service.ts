// What one pod is told when it asks for a name: the mesh's own answer, or what a name server says.
import { errorText } from '#/errors/index.ts';
import type { Clock } from '#/kit/index.ts';
import type { MeshKey, NameAnswer, NameView, Workload } from '#/model/index.ts';
import { planName, type NameSettings } from '#/route/index.ts';
import { families, type DnsLogRecord, type MetricSet } from '#/telemetry/index.ts';
import {
  datagramLimit,
  dnsCode,
  dnsFailure,
  dnsType,
  dnsTypeName,
  encodeDnsReply,
  hostnameOf,
  internetClass,
  localDnsAnswer,
  nameText,
  readDnsRequest,
  type DnsQuery,
} from '#/wire/index.ts';
import type { CachedAnswer } from './answer-cache.ts';

export type DnsProtocol = 'udp' | 'tcp';

export interface NameServiceOptions {
  /** The record of the pod that asks. Rejects if the control plane does not tell of it in time. */
  readonly client: () => Promise<Workload>;
  readonly view: NameView & { ask(keys: readonly MeshKey[]): Promise<void> };
  readonly settings: NameSettings;
  readonly forward: (query: DnsQuery) => Promise<CachedAnswer>;
  /** Holds the families of `dnsFamilies`. */
  readonly metrics: MetricSet;
  /** Called with one record per question, if anybody reads them. */
  readonly log: (record: () => DnsLogRecord) => void;
  readonly clock: Clock;
  readonly random?: () => number;
}

/** What a NameService counts. */
export const dnsFamilies = [
  families.dnsRequests,
  families.dnsUpstreamRequests,
  families.dnsUpstreamFailures,
  families.dnsUpstreamDuration,
];

/** Questions of one pod that are being answered at a time. */
export const questionLimit = 1024;
const ttlSeconds = 30;
/** One fetches what the name may stand for; another one is for what has changed meanwhile. */
const planRounds = 3;

const outcomeTexts: Readonly<Record<NameAnswer['outcome'], string>> = {
  found: 'success',
  none: 'no records',
  'other-family': 'service does not support this record type',
};

/** A question, who asks, and how: what is counted and logged. */
interface Asked {
  readonly query: DnsQuery;
  readonly protocol: DnsProtocol;
  readonly client: Workload | undefined;
}

export class NameService {
  readonly #options: NameServiceOptions;
  #pending = 0;

  constructor(options: NameServiceOptions) {
    this.#options = options;
  }

  /** Questions that are being answered. */
  get pending(): number {
    return this.#pending;
  }

  /** The reply to a message, whatever is in it; undefined if there is to be none. Never rejects. */
  async answer(message: Uint8Array, protocol: DnsProtocol): Promise<Uint8Array | undefined> {
    const request = readDnsRequest(message);
    if (request.kind === 'ignore') return undefined;
    if (request.kind === 'refuse') return request.reply;
    const { query } = request;
    const limit = protocol === 'udp' ? datagramLimit(query) : undefined;
    const fail = (code: number): Uint8Array => encodeDnsReply(query, dnsFailure(query.question, code), limit);
    if ((query.extension?.version ?? 0) > 0) return fail(dnsCode.BADVERS);
    if (this.#pending >= questionLimit) return fail(dnsCode.SERVFAIL);
    this.#pending++;
    try {
      const { answer, ageSeconds } = await this.#resolve(query, protocol);
      return encodeDnsReply(query, answer, limit, ageSeconds);
    } catch {
      // Counted and logged where it happened.
      return fail(dnsCode.SERVFAIL);
    } finally {
      this.#pending--;
    }
  }

  async #resolve(query: DnsQuery, protocol: DnsProtocol): Promise<CachedAnswer> {
    let client: Workload;
    try {
      client = await this.#options.client();
    } catch (error) {
      const asked: Asked = { query, protocol, client: undefined };
      this.#count('dnsRequests', asked);
      this.#log(asked, 'unknown source', 0);
      throw error;
    }
    const asked: Asked = { query, protocol, client };
    let plan: NameAnswer | undefined;
    try {
      plan = await this.#plan(query, client);
    } catch (error) {
      this.#count('dnsRequests', asked);
      this.#log(asked, `look-up failed (${errorText(error)})`, 0);
      throw error;
    }
    this.#count('dnsRequests', asked);
    if (plan === undefined) return await this.#forward(asked);
    const { outcome, addresses, canonicalName } = plan;
    this.#log(asked, outcomeTexts[outcome], addresses.length);
    const alias = canonicalName === undefined ? {} : { canonicalName };
    return {
      answer: localDnsAnswer(query.question, { addresses, ttlSeconds, ...alias }),
      ageSeconds: 0,
    };
  }

  /** Undefined: to be forwarded. Only addresses can be the mesh's to tell. */
  async #plan({ question }: DnsQuery, client: Workload): Promise<NameAnswer | undefined> {
    const { view, settings, random = Math.random } = this.#options;
    const { type } = question;
    if (question.class !== internetClass || (type !== dnsType.A && type !== dnsType.AAAA)) return undefined;
    const name = hostnameOf(question.name);
    if (name === undefined) return undefined;
    const facts = { client, name, family: type === dnsType.A ? 4 : 6 } as const;
    for (let round = 0; round < planRounds; round++) {
      const plan = planName(facts, view, settings, random);
      if (plan.kind === 'forward') return undefined;
      if (plan.kind === 'answer') return plan;
      await view.ask(plan.keys);
    }
    throw new Error('the records of the name do not stay long enough to be read');
  }

  async #forward(asked: Asked): Promise<CachedAnswer> {
    const { forward, clock, metrics } = this.#options;
    this.#count('dnsUpstreamRequests', asked);
    const startedAt = clock.now();
    try {
      const found = await forward(asked.query);
      this.#log(asked, 'forwarded', found.answer.answers);
      return found;
    } catch (error) {
      this.#count('dnsUpstreamFailures', asked);
      this.#log(asked, `forwarding failed (${errorText(error)})`, 0);
      throw error;
    } finally {
      const seconds = Math.max(0, clock.now() - startedAt) / 1000;
      metrics.observe(families.dnsUpstreamDuration, labels(asked), seconds);
    }
  }

  #count(family: 'dnsRequests' | 'dnsUpstreamRequests' | 'dnsUpstreamFailures', asked: Asked): void {
    this.#options.metrics.add(families[family], labels(asked));
  }

  #log({ query: { question }, client }: Asked, result: string, endpoints: number): void {
    this.#options.log(() => ({
      workload: client?.name,
      namespace: client?.namespace,
      query: dnsTypeName(question.type) ?? `TYPE${question.type}`,
      domain: nameText(question.name),
      result,
      endpoints,
    }));
  }
}

/** Types that nobody uses share a label: a client must not make series at will. */
const labels = ({ query, protocol, client }: Asked): (string | undefined)[] => [
  dnsTypeName(query.question.type)?.toLowerCase(),
  protocol,
  client?.canonicalName,
  client?.canonicalRevision,
];

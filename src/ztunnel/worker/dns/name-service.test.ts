import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decode, encode, type DecodedPacket } from 'dns-packet';
import { ManualClock } from '#/kit/index.ts';
import { nameKey, type MeshKey, type Service, type Workload } from '#/model/index.ts';
import { MeshStore } from '#/state/index.ts';
import { formatDns, MetricSet, openMetrics, type DnsLogRecord } from '#/telemetry/index.ts';
import type { DnsQuery } from '#/wire/index.ts';
import { aService, aWorkload } from '../../../../test/mesh-records.ts';
import type { CachedAnswer } from './answer-cache.ts';
import { dnsFamilies, NameService, questionLimit } from './name-service.ts';
import { addressAnswer, aMessage, anAnswer, optRecord } from './test-answers.ts';

type Reply = DecodedPacket & { readonly rcode: string };

/** A name service over a store, whose records have to be asked for, and a name server that the test plays. */
class Desk {
  readonly clock = new ManualClock();
  readonly store = new MeshStore();
  readonly known = new Set<MeshKey>();
  readonly asked: MeshKey[] = [];
  readonly metrics = new MetricSet(dnsFamilies);
  readonly lines: DnsLogRecord[] = [];
  readonly forwarded: DnsQuery[] = [];
  client: () => Promise<Workload> = () =>
    Promise.resolve(aWorkload('client', { canonicalName: 'shop', canonicalRevision: 'v2' }));
  forward: (query: DnsQuery) => Promise<CachedAnswer> = (query) =>
    Promise.resolve({ answer: addressAnswer(query, '192.0.2.1'), ageSeconds: 10 });
  /** Called when records are asked for. */
  onAsk: (keys: readonly MeshKey[]) => Promise<void> = (keys) => {
    for (const key of keys) this.known.add(key);
    return Promise.resolve();
  };
  readonly service: NameService;

  constructor(services: readonly Service[] = [], workloads: readonly Workload[] = [], ipv6 = true) {
    this.store.apply({ addresses: [...services, ...workloads] });
    this.service = new NameService({
      client: () => this.client(),
      view: {
        hasHostname: (hostname) => this.store.hasHostname(hostname),
        servicesByHostname: (hostname) => this.store.servicesByHostname(hostname),
        endpoints: (key) => this.store.endpoints(key),
        knows: (key) => this.known.has(key),
        ask: (keys) => {
          this.asked.push(...keys);
          return this.onAsk(keys);
        },
      },
      settings: { domain: 'cluster.local', ipv6 },
      forward: (query) => {
        this.forwarded.push(query);
        return this.forward(query);
      },
      metrics: this.metrics,
      log: (record) => this.lines.push(record()),
      clock: this.clock,
      random: () => 0,
    });
  }

  async say(message: Uint8Array, protocol: 'udp' | 'tcp' = 'udp'): Promise<Reply> {
    const reply = await this.service.answer(message, protocol);
    assert.ok(reply !== undefined, 'no reply');
    return decode(Buffer.from(reply)) as Reply;
  }

  async metric(name: string): Promise<string | undefined> {
    const text = [...openMetrics(this.metrics.collect())].join('');
    return text.split('\n').find((line) => line.startsWith(`${name}{`));
  }

  get log(): string[] {
    return this.lines.map((line) => formatDns(line, 'plain', 0).split('\t')[3] as string);
  }
}

const web = aService('web.ns.svc.cluster.local', { addresses: ['10.9.0.1'] });
const records = (reply: Reply) =>
  (reply.answers ?? []).map((record) => ('data' in record ? [record.name, record.type, record.data] : []));

suite('the mesh answers', () => {
  test('with authority, for thirty seconds, after fetching the records once', async () => {
    const desk = new Desk([web]);
    const reply = await desk.say(aMessage('WEB.ns', 'A'));
    assert.deepEqual(records(reply), [['WEB.ns', 'A', '10.9.0.1']]);
    assert.deepEqual(
      [
        reply.id,
        reply.rcode,
        reply.flag_aa,
        reply.flag_ra,
        reply.answers?.map((one) => 'ttl' in one && one.ttl),
      ],
      [7, 'NOERROR', true, true, [30]],
    );
    await desk.say(aMessage('web'));
    assert.deepEqual(desk.asked, [nameKey('web.ns.svc.cluster.local')]);
    assert.deepEqual(desk.forwarded, []);
    assert.deepEqual(desk.log, [
      'src.workload="client" src.namespace="ns" query="A" domain="WEB.ns." result="success" endpoints=1',
      'src.workload="client" src.namespace="ns" query="A" domain="web." result="success" endpoints=1',
    ]);
    assert.equal(
      await desk.metric('istio_dns_requests_total'),
      'istio_dns_requests_total{request_query_type="a",request_protocol="udp",source_canonical_service="shop",source_canonical_revision="v2"} 2',
    );
    assert.equal(await desk.metric('istio_dns_upstream_requests_total'), undefined);
  });

  test('with an alias, if a search domain was cut off', async () => {
    const reply = await new Desk([web]).say(aMessage('web.ns.ns.svc.cluster.local'));
    assert.deepEqual(records(reply), [
      ['web.ns.ns.svc.cluster.local', 'CNAME', 'web.ns'],
      ['web.ns', 'A', '10.9.0.1'],
    ]);
  });

  test('with nothing, which is no error', async () => {
    const desk = new Desk([web]);
    const none = await desk.say(aMessage('web', 'AAAA'));
    assert.deepEqual([none.rcode, none.answers, none.flag_aa], ['NOERROR', [], true]);
    assert.match(desk.log[0] ?? '', /query="AAAA" .*result="no records" endpoints=0$/);
    const off = new Desk([web], [], false);
    assert.equal((await off.say(aMessage('web', 'AAAA'))).rcode, 'NOERROR');
    assert.match(off.log[0] ?? '', /result="service does not support this record type"/);
  });

  test('over UDP with what fits, over TCP with everything', async () => {
    const pods = Array.from({ length: 60 }, (_, i) =>
      aWorkload(`p${i}`, { addresses: [`10.0.0.${i}`], services: { 'ns/db.ns.svc.cluster.local': {} } }),
    );
    const desk = new Desk([aService('db.ns.svc.cluster.local')], pods);
    const udp = await desk.say(aMessage('db'));
    assert.equal(udp.flag_tc, true);
    assert.equal(udp.answers?.length, Math.floor((512 - 20) / 16));
    const tcp = await desk.say(aMessage('db'), 'tcp');
    assert.deepEqual([tcp.flag_tc, tcp.answers?.length], [false, 60]);
    const large = await desk.say(aMessage('db', 'A', { additionals: [optRecord()] }));
    assert.deepEqual([large.flag_tc, large.answers?.length], [false, 60]);
    assert.equal(await desk.metric('istio_dns_requests_total').then((line) => line?.includes('udp')), true);
  });

  test('with what is there when the records have come', async () => {
    const desk = new Desk([web]);
    desk.onAsk = (keys) => {
      for (const key of keys) desk.known.add(key);
      desk.store.apply({ removedServices: ['ns/web.ns.svc.cluster.local'] });
      return Promise.resolve();
    };
    assert.deepEqual(records(await desk.say(aMessage('web'))), [['x', 'A', '192.0.2.1']]);
    assert.equal(desk.forwarded.length, 1);
  });
});

suite('a name server is asked', () => {
  test('for names that the mesh does not have, and its answer is aged', async () => {
    const desk = new Desk([web]);
    const reply = await desk.say(aMessage('example.com', 'A', { additionals: [optRecord()] }));
    assert.deepEqual(records(reply), [['x', 'A', '192.0.2.1']]);
    assert.deepEqual(
      [
        reply.flag_aa,
        reply.flag_ra,
        reply.answers?.map((one) => 'ttl' in one && one.ttl),
        reply.additionals?.length,
      ],
      [false, true, [50], 1],
    );
    assert.deepEqual(desk.asked, [], 'nothing is fetched for it');
    assert.match(desk.log[0] ?? '', /domain="example.com." result="forwarded" endpoints=1$/);
    for (const name of ['istio_dns_requests_total', 'istio_dns_upstream_requests_total'])
      assert.match((await desk.metric(name)) ?? '', /\} 1$/, name);
    assert.match((await desk.metric('istio_dns_upstream_request_duration_seconds_count')) ?? '', /\} 1$/);
    assert.equal(await desk.metric('istio_dns_upstream_failures_total'), undefined);
  });

  const question = (name: string, type: number, cls = 1): Buffer => {
    const bytes = Buffer.from(aMessage(name));
    bytes.writeUInt16BE(type, bytes.length - 4);
    bytes.writeUInt16BE(cls, bytes.length - 2);
    return bytes;
  };
  const dotted = Buffer.from(aMessage('web'));
  dotted[13] = '.'.charCodeAt(0);
  for (const [what, message, logged] of [
    ['for other types, also of names that the mesh has', aMessage('web', 'SRV'), 'query="SRV" domain="web."'],
    ['for types without a name', question('web', 65_280), 'query="TYPE65280"'],
    ['for other classes', question('web', 1, 3), 'query="A"'],
    ['for a pod of a headless service', aMessage('db-0.db.ns.svc.cluster.local'), 'domain="db-0.db.'],
    ['for a label that only looks like a name', dotted, 'domain="\\\\046eb."'],
    ['for the root', aMessage('.'), 'domain="."'],
  ] as const)
    test(what, async () => {
      const desk = new Desk([web, aService('db.ns.svc.cluster.local')]);
      await desk.say(message);
      assert.equal(desk.forwarded.length, 1);
      const [line = ''] = desk.log;
      assert.ok(line.includes(logged), line);
    });

  test('NXDOMAIN is passed on', async () => {
    const desk = new Desk();
    desk.forward = (query) => Promise.resolve({ answer: anAnswer(query, {}, 3), ageSeconds: 0 });
    const reply = await desk.say(aMessage('nope.example.com'));
    assert.deepEqual([reply.rcode, reply.questions?.[0]?.name], ['NXDOMAIN', 'nope.example.com']);
  });

  test('none answers: SERVFAIL', async () => {
    const desk = new Desk();
    desk.forward = () => {
      desk.clock.advance(4500);
      return Promise.reject(new Error('no answer within 4.5 s'));
    };
    const reply = await desk.say(aMessage('example.com', 'A', { additionals: [optRecord()] }), 'tcp');
    assert.deepEqual([reply.rcode, reply.questions?.length, reply.additionals?.length], ['SERVFAIL', 1, 1]);
    assert.match(desk.log[0] ?? '', /result="forwarding failed \(no answer within 4\.5 s\)" endpoints=0$/);
    assert.match(
      (await desk.metric('istio_dns_upstream_failures_total')) ?? '',
      /request_protocol="tcp".*\} 1$/,
    );
    assert.match((await desk.metric('istio_dns_upstream_request_duration_seconds_sum')) ?? '', /\} 4\.5$/);
  });
});

suite('what cannot be answered', () => {
  test('a pod that nobody has told of: SERVFAIL, counted without a source', async () => {
    const desk = new Desk([web]);
    desk.client = () => Promise.reject(new Error('unknown source'));
    assert.equal((await desk.say(aMessage('web'))).rcode, 'SERVFAIL');
    assert.match(
      (await desk.metric('istio_dns_requests_total')) ?? '',
      /source_canonical_service="unknown".*\} 1$/,
    );
    assert.deepEqual(desk.log, [
      'src.workload="unknown" src.namespace="unknown" query="A" domain="web." result="unknown source" endpoints=0',
    ]);
  });

  test('records that do not come, or do not stay: SERVFAIL', async () => {
    const desk = new Desk([web]);
    desk.onAsk = () => Promise.reject(new Error('too many look-ups'));
    assert.equal((await desk.say(aMessage('web'))).rcode, 'SERVFAIL');
    desk.onAsk = () => Promise.resolve();
    assert.equal((await desk.say(aMessage('web'))).rcode, 'SERVFAIL');
    assert.equal(desk.forwarded.length, 0, "the mesh's own names do not leak");
  });

  test('an EDNS version that nobody knows: BADVERS', async () => {
    const reply = await new Desk([web]).say(
      aMessage('web', 'A', { additionals: [optRecord({ ednsVersion: 1 })] }),
    );
    const [opt] = reply.additionals ?? [];
    assert.ok(opt?.type === 'OPT');
    assert.deepEqual([opt.extendedRcode, reply.rcode, reply.answers], [1, 'NOERROR', []]);
  });

  test('other messages', async () => {
    const desk = new Desk([web]);
    const notify = Buffer.from(aMessage('web'));
    notify.writeUInt16BE(0x2000, 2);
    assert.equal((await desk.say(notify)).rcode, 'NOTIMP');
    const response = encode({ type: 'response', id: 9, questions: [{ type: 'A', name: 'web' }] });
    assert.deepEqual([(await desk.say(response)).rcode, (await desk.say(response)).id], ['FORMERR', 9]);
    for (const garbage of [Buffer.alloc(0), Buffer.alloc(11), Buffer.alloc(600, 0xff)])
      assert.equal(await desk.service.answer(garbage, 'udp'), undefined);
    assert.deepEqual([desk.log, await desk.metric('istio_dns_requests_total')], [[], undefined]);
  });

  test('too many questions at a time: SERVFAIL, and all goes on afterwards', async () => {
    const desk = new Desk();
    const { promise, resolve } = Promise.withResolvers<void>();
    desk.forward = async (query) => {
      await promise;
      return { answer: addressAnswer(query, '192.0.2.1'), ageSeconds: 0 };
    };
    const waiting = Array.from({ length: questionLimit }, (_, i) => desk.say(aMessage(`n${i}`)));
    assert.equal(desk.service.pending, questionLimit);
    assert.equal((await desk.say(aMessage('one-more'))).rcode, 'SERVFAIL');
    resolve();
    assert.ok((await Promise.all(waiting)).every(({ rcode }) => rcode === 'NOERROR'));
    assert.equal(desk.service.pending, 0);
    assert.equal((await desk.say(aMessage('one-more'))).rcode, 'NOERROR');
  });
});

test('a client cannot make series at will', async () => {
  const desk = new Desk();
  for (let type = 60_000; type < 60_100; type++) {
    const bytes = Buffer.from(aMessage('x'));
    bytes.writeUInt16BE(type, bytes.length - 4);
    await desk.say(bytes);
  }
  assert.match(
    (await desk.metric('istio_dns_requests_total')) ?? '',
    /request_query_type="unknown".*\} 100$/,
  );
});

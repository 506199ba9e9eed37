import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { test } from 'node:test';
import { decode, encode, type DecodedPacket } from 'dns-packet';
import { silentLogger } from '#/kit/index.ts';
import type { KubeService } from '#/kube/index.ts';
import type { ZoneView } from './cluster-zone.ts';
import { DnsServer, respond } from './dns-server.ts';

const many = Array.from({ length: 60 }, (_, i) => ({
  addresses: [`10.0.0.${i + 1}`],
  conditions: { ready: true },
}));
const web: KubeService = { metadata: { name: 'web', namespace: 'a' }, spec: { clusterIPs: ['10.96.0.7'] } };
const big: KubeService = { metadata: { name: 'big', namespace: 'a' }, spec: { clusterIP: 'None' } };
const view: ZoneView = {
  service: (_, name) => ({ web, big })[name],
  slices: () => [{ metadata: { name: 's' }, addressType: 'IPv4', endpoints: many, ports: [] }],
  hasNamespace: () => true,
};

const query = (name: string, extra: object = {}): Buffer =>
  encode({ type: 'query', id: 7, flags: 1 << 8, questions: [{ type: 'A', name }], ...extra });

/** The types leave out that a decoded packet has its code as text. */
const answerTo = (message: Buffer, udp = true): DecodedPacket & { readonly rcode?: string } => {
  const answer = respond(message, view, 'cluster.local', udp, () => 0);
  assert.ok(answer !== undefined);
  return decode(answer);
};

test('an answer repeats id and question, and is authoritative', () => {
  const answer = answerTo(query('web.a.svc.cluster.local'));
  assert.equal(answer.id, 7);
  assert.equal(answer.flag_aa, true);
  assert.equal(answer.flag_ra, true);
  assert.equal(answer.rcode, 'NOERROR');
  assert.equal(answer.questions?.[0]?.name, 'web.a.svc.cluster.local');
});

test('a "no" carries the SOA, so that it is not kept for long', () => {
  const answer = answerTo(query('nosuch.a.svc.cluster.local'));
  assert.equal(answer.rcode, 'NXDOMAIN');
  assert.equal(answer.authorities?.[0]?.type, 'SOA');
});

test('too long for UDP: truncated, whole over TCP', () => {
  const udp = answerTo(query('big.a.svc.cluster.local'));
  assert.equal(udp.flag_tc, true);
  assert.equal(udp.answers?.length, 0);
  assert.equal(answerTo(query('big.a.svc.cluster.local'), false).answers?.length, 60);
});

test('garbage is refused or dropped, never answered with a guess', () => {
  assert.equal(respond(Buffer.from('x'), view, 'cluster.local', true), undefined);
  const cut = query('web.a.svc.cluster.local').subarray(0, 20);
  assert.equal(answerTo(cut).rcode, 'FORMERR');
  const response = encode({ type: 'response', id: 1 });
  assert.equal(respond(response, view, 'cluster.local', true), undefined);
  assert.equal(answerTo(query('x', { flags: (2 << 11) | (1 << 8) })).rcode, 'NOTIMP');
});

test('serves both UDP and TCP on one port', async () => {
  await using server = new DnsServer({
    view,
    domain: 'cluster.local',
    host: '127.0.0.1',
    port: 0,
    log: silentLogger,
  });
  const port = await server.start();
  const message = query('web.a.svc.cluster.local');
  const client = createSocket('udp4');
  const udp = await new Promise<Buffer>((resolve) => {
    client.on('message', resolve);
    client.send(message, port, '127.0.0.1');
  });
  client.close();
  assert.equal(decode(udp).answers?.length, 1);
  const tcp = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      // In two pieces, as TCP may deliver it.
      socket.write(Buffer.concat([length, message.subarray(0, 5)]));
      setTimeout(() => socket.write(message.subarray(5)), 5);
    });
    socket.on('data', (data: Buffer) => {
      socket.destroy();
      resolve(data);
    });
    socket.on('error', reject);
  });
  assert.equal(decode(tcp.subarray(2)).answers?.length, 1);
});

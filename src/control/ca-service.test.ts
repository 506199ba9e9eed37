import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, test } from 'node:test';
import {
  CertificateAuthority,
  createCsr,
  parseCertificate,
  RpcError,
  SigningError,
  type CallFacts,
} from '#/identity/index.ts';
import { silentLogger } from '#/kit/index.ts';
import { identityOf } from '#/model/index.ts';
import type { CertificateRequest } from '#/wire/index.ts';
import type { Caller } from './caller.ts';
import { CaService, type CaOutcome, type CaServiceOptions } from './ca-service.ts';

const web = identityOf('cluster.local', 'shop', 'web');
const ztunnel: Caller = {
  identity: identityOf('cluster.local', 'istio-system', 'ztunnel'),
  namespace: 'istio-system',
  serviceAccount: 'ztunnel',
  pod: { name: 'ztunnel-1', uid: 'u1' },
};
const call: CallFacts = { header: () => undefined, peer: '10.0.0.1:1' };

let ca: CertificateAuthority;
before(async () => {
  ca = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
});

function service(change: Partial<CaServiceOptions> = {}) {
  const log: string[] = [];
  const outcomes: CaOutcome[] = [];
  const made = new CaService({
    authenticate: () => Promise.resolve(ztunnel),
    authority: () => ca,
    pods: {
      get: () => ({ uid: 'u1', serviceAccount: 'ztunnel', node: 'n1' }),
      runsOn: (_namespace, account) => account === 'web',
    },
    rules: { trustedAccounts: ['istio-system/ztunnel'], trustDomain: 'cluster.local' },
    concurrency: 2,
    queue: 2,
    requestsPerSecond: 0,
    log: { ...silentLogger, warn: (message) => log.push(message) },
    onOutcome: (outcome) => outcomes.push(outcome),
    ...change,
  });
  return { made, log, outcomes };
}

async function request(impersonate?: string, ttlSeconds = 3600): Promise<CertificateRequest> {
  const { csrPem } = await createCsr(identityOf('ignored', 'by', 'the-ca'));
  return {
    csr: csrPem,
    ttlSeconds,
    ...(impersonate === undefined ? {} : { impersonatedIdentity: impersonate }),
  };
}

const refused = (status: RpcError['status'], text: RegExp) => (error: unknown) =>
  (error instanceof RpcError || error instanceof SigningError) &&
  error.status === status &&
  text.test(error.message);

test('the certificate is for whom was asked, not for whom the request names', async () => {
  const { made, outcomes } = service();
  const chain = await made.create(await request(web), call);
  assert.equal(parseCertificate(chain[0] as string).identity, web);
  assert.equal(chain.at(-1), ca.rootsPem);
  const leaf = new X509Certificate(chain[0] as string);
  assert.ok(leaf.verify(new X509Certificate(ca.rootsPem).publicKey));
  assert.deepEqual(outcomes, ['success']);
});

test('without an impersonated identity, it is for the caller', async () => {
  const chain = await service().made.create(await request(), call);
  assert.equal(parseCertificate(chain[0] as string).identity, ztunnel.identity);
});

test('a foreign identity is refused without a reason; the log has it', async () => {
  const { made, log, outcomes } = service();
  const foreign = await request(identityOf('cluster.local', 'shop', 'db'));
  await assert.rejects(
    made.create(foreign, call),
    refused('UNAUTHENTICATED', /^request authenticate failure$/),
  );
  assert.match(log[0] ?? '', /no pod of shop\/db runs on node n1/);
  assert.deepEqual(outcomes, ['unauthenticated']);
});

test("a bad request or too long a life is the caller's fault", async () => {
  const { made, outcomes } = service();
  const garbage = { csr: 'garbage', ttlSeconds: 60 };
  await assert.rejects(made.create(garbage, call), refused('INVALID_ARGUMENT', /./));
  const long = await request(web, 91 * 86_400);
  await assert.rejects(made.create(long, call), refused('INVALID_ARGUMENT', /TTL/));
  assert.deepEqual(outcomes, ['csr', 'ttl']);
});

test('without a CA the answer is Internal', async () => {
  const { made } = service({ authority: () => undefined });
  await assert.rejects(made.create(await request(web), call), refused('INTERNAL', /no signing certificate/));
});

test('a flood is refused beyond the queue, and beyond the rate of one caller', async () => {
  const { made } = service({ concurrency: 1, queue: 3 });
  const one = await request(web);
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => made.create(one, call)));
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 4);
  const limited = service({ requestsPerSecond: 0.5 }).made;
  const answers = await Promise.allSettled(Array.from({ length: 20 }, () => limited.create(one, call)));
  const reasons = answers
    .filter((answer) => answer.status === 'rejected')
    .map((answer) => answer.reason as RpcError);
  assert.ok(reasons.length >= 15);
  assert.ok(reasons.every((error) => error.status === 'RESOURCE_EXHAUSTED'));
});

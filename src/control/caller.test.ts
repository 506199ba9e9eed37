import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, test } from 'node:test';
import { CertificateAuthority, createCsr, RpcError, type CallFacts } from '#/identity/index.ts';
import { ManualClock, silentLogger } from '#/kit/index.ts';
import { identityOf } from '#/model/index.ts';
import { CallerReview } from './caller.ts';

type Review = Awaited<ReturnType<Parameters<typeof review>[0]>>;

function review(
  answer: (
    token: string,
    audiences: readonly string[],
  ) => Promise<
    | { authenticated: false; error: string }
    | {
        authenticated: true;
        audiences: readonly string[];
        user: { username: string; groups: readonly string[]; extra: Record<string, readonly string[]> };
      }
  >,
  issuersPem = '',
) {
  const clock = new ManualClock(Date.now());
  let calls = 0;
  const log: string[] = [];
  const callers = new CallerReview({
    client: {
      tokenReview: (token, audiences) => {
        calls++;
        return answer(token, audiences ?? []);
      },
    },
    audiences: ['istio-ca'],
    trustDomain: 'cluster.local',
    clusterId: 'Kubernetes',
    issuersPem: () => issuersPem,
    log: { ...silentLogger, warn: (message) => log.push(message) },
    clock,
  });
  return { callers, clock, log, calls: () => calls };
}

const call = (headers: Readonly<Record<string, string>>, peerCertificate?: Uint8Array): CallFacts => ({
  header: (name) => headers[name],
  peer: '10.0.0.9:1234',
  ...(peerCertificate === undefined ? {} : { peerCertificate }),
});

const accepted = (): Promise<Review> =>
  Promise.resolve({
    authenticated: true,
    audiences: ['istio-ca'],
    user: {
      username: 'system:serviceaccount:istio-system:ztunnel',
      groups: ['system:serviceaccounts'],
      extra: {
        'authentication.kubernetes.io/pod-name': ['ztunnel-1'],
        'authentication.kubernetes.io/pod-uid': ['u1'],
      },
    },
  });

const bearer = { authorization: 'Bearer abc' };

test('a token is reviewed once for a while, also when many ask at once', async () => {
  const { callers, clock, calls } = review(accepted);
  const [caller] = await Promise.all([1, 2, 3].map(() => callers.authenticate(call(bearer))));
  assert.deepEqual(caller, {
    identity: 'spiffe://cluster.local/ns/istio-system/sa/ztunnel',
    namespace: 'istio-system',
    serviceAccount: 'ztunnel',
    pod: { name: 'ztunnel-1', uid: 'u1' },
  });
  assert.equal(calls(), 1);
  clock.advance(31_000);
  await callers.authenticate(call(bearer));
  assert.equal(calls(), 2);
});

test('a verdict does not outlive its token', async () => {
  const { callers, clock, calls } = review(accepted);
  const payload = Buffer.from(JSON.stringify({ exp: clock.now() / 1000 + 5 })).toString('base64url');
  const headers = { authorization: `Bearer x.${payload}.y` };
  await callers.authenticate(call(headers));
  clock.advance(6000);
  await callers.authenticate(call(headers));
  assert.equal(calls(), 2);
});

const refusals: readonly [string, Readonly<Record<string, string>>, () => Promise<Review>, RegExp][] = [
  ['no credentials', {}, accepted, /neither a certificate nor a token/],
  ['another scheme', { authorization: 'Basic abc' }, accepted, /neither/],
  ['another cluster', { ...bearer, clusterid: 'west' }, accepted, /cluster "west"/],
  ['a huge token', { authorization: `Bearer ${'x'.repeat(20_000)}` }, accepted, /20000 characters/],
  [
    'a wrong audience',
    bearer,
    () => Promise.resolve({ authenticated: false, error: 'wrong audience' }),
    /wrong audience/,
  ],
  [
    'a user who is no service account',
    bearer,
    async () => ({
      authenticated: true,
      audiences: ['istio-ca'],
      user: { username: 'admin', groups: ['system:serviceaccounts'], extra: {} },
    }),
    /not a service account/,
  ],
  [
    'a service account by name alone',
    bearer,
    async () => ({
      authenticated: true,
      audiences: ['istio-ca'],
      user: { username: 'system:serviceaccount:a:b', groups: [], extra: {} },
    }),
    /not a service account/,
  ],
];

for (const [name, headers, answer, reason] of refusals)
  test(`refused with one opaque text, the reason in our log: ${name}`, async () => {
    const { callers, log } = review(answer);
    await assert.rejects(
      callers.authenticate(call(headers)),
      (error) =>
        error instanceof RpcError &&
        error.status === 'UNAUTHENTICATED' &&
        error.message === 'authentication failure',
    );
    assert.match(log.join('\n'), reason);
  });

test('when the API server cannot be asked, the caller may come again', async () => {
  const { callers } = review(() => Promise.reject(new Error('down')));
  await assert.rejects(
    callers.authenticate(call(bearer)),
    (error) => error instanceof RpcError && error.status === 'UNAVAILABLE',
  );
});

const web = identityOf('cluster.local', 'shop', 'web');
let ca: CertificateAuthority;
let other: CertificateAuthority;

before(async () => {
  ca = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
  other = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
});

async function leaf(authority: CertificateAuthority, identity = web): Promise<Uint8Array> {
  const { csrPem } = await createCsr(identity);
  const { chain } = await authority.sign(csrPem, identity, 3600);
  return new X509Certificate(chain[0] as string).raw;
}

test('a client certificate of our CA is enough, and goes before a token', async () => {
  const { callers, calls } = review(accepted, ca.rootsPem);
  const caller = await callers.authenticate(call(bearer, await leaf(ca)));
  assert.deepEqual(caller, { identity: web, namespace: 'shop', serviceAccount: 'web' });
  assert.equal(calls(), 0);
});

test('a certificate of another CA with the same name, an expired or a foreign one does not count', async () => {
  const { callers, clock, log } = review(accepted, ca.rootsPem);
  await assert.rejects(callers.authenticate(call({}, await leaf(other))));
  await assert.rejects(
    callers.authenticate(call({}, await leaf(ca, identityOf('evil.example', 'shop', 'web')))),
  );
  await assert.rejects(callers.authenticate(call({}, new Uint8Array([1, 2, 3]))));
  clock.advance(2 * 3_600_000);
  await assert.rejects(callers.authenticate(call({}, await leaf(ca))));
  assert.match(log[0] ?? '', /not of this CA/);
  assert.match(log[1] ?? '', /trust domain/);
  assert.match(log[2] ?? '', /cannot be read/);
  assert.match(log[3] ?? '', /not valid at this time/);
});

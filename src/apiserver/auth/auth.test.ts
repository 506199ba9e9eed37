// Over HTTPS, as a client sees it: credentials and tokens.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import {
  isNotFound,
  KubeClient,
  type KubeError,
  loadKubeconfig,
  nodes,
  pods,
  serviceAccounts,
  secrets,
  certificateSigningRequests,
} from '#/kube/index.ts';
import { eventually, pod, sharedServer, testServer } from '../test-server.ts';

const shared = sharedServer();
const { fresh } = shared;

test('nobody gets in without a credential', async () => {
  for (const path of ['/api', '/api/v1/pods', '/healthz', '/version', '/openapi/v2', '/'])
    assert.equal((await shared.raw('GET', path, { anonymous: true })).code, 401, path);
  const bad = await shared.raw('GET', '/api/v1/pods', {
    anonymous: true,
    headers: { authorization: 'Bearer nonsense' },
  });
  assert.deepEqual([bad.code, bad.json.reason, bad.json['kind']], [401, 'Unauthorized', 'Status']);
});

test('the kubeconfig is readable by its owner only', () => {
  assert.equal(statSync(shared.server.kubeconfig).mode & 0o777, 0o600);
});

test('a certificate of another authority counts as none', async (t: TestContext) => {
  const other = await testServer(t);
  const mine = loadKubeconfig(shared.server.kubeconfig);
  const { clientCert, clientKey } = loadKubeconfig(other.server.kubeconfig);
  const client = KubeClient.fromConfig({
    ...mine,
    clientCert: clientCert as string,
    clientKey: clientKey as string,
  });
  await assert.rejects(client.list(pods), (error: KubeError) => error.code === 401);
  client.close();
});

test('tokens are for an audience, and end with their pod', async () => {
  const { client } = shared;
  const ns = await fresh();
  await eventually(() => client.find(serviceAccounts, ns, 'default'));
  await client.create(nodes, undefined, { metadata: { name: `node-${ns}` } });
  const made = await client.create(pods, ns, pod('p', `node-${ns}`));
  const { token } = await client.createToken(ns, 'default', ['istio-ca'], 3600, {
    name: 'p',
    uid: made.metadata.uid as string,
  });
  const review = await client.tokenReview(token, ['istio-ca', 'other']);
  assert.ok(review.authenticated);
  assert.equal(review.user.username, `system:serviceaccount:${ns}:default`);
  assert.deepEqual(review.audiences, ['istio-ca']);
  assert.deepEqual(review.user.groups, [
    'system:serviceaccounts',
    `system:serviceaccounts:${ns}`,
    'system:authenticated',
  ]);
  assert.deepEqual(review.user.extra['authentication.kubernetes.io/pod-name'], ['p']);
  assert.deepEqual(review.user.extra['authentication.kubernetes.io/pod-uid'], [made.metadata.uid]);
  assert.deepEqual(review.user.extra['authentication.kubernetes.io/node-name'], [`node-${ns}`]);
  const no = async (text: string, audiences: string[], why: RegExp): Promise<void> => {
    const answer = await client.tokenReview(text, audiences);
    assert.equal(answer.authenticated, false);
    assert.match(answer.authenticated ? '' : answer.error, why);
  };
  await no(
    token,
    ['elsewhere'],
    /token audiences \["istio-ca"\] is invalid for the target audiences \["elsewhere"\]/,
  );
  await no('not.a.token', ['istio-ca'], /not one of this cluster/);
  const [head, body, signature] = token.split('.') as [string, string, string];
  const forged = Buffer.from(
    Buffer.from(body, 'base64url').toString().replaceAll(':default', ':admin'),
  ).toString('base64url');
  await no(`${head}.${forged}.${signature}`, ['istio-ca'], /not one of this cluster/);
  await no(
    `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`,
    ['istio-ca'],
    /not one of this cluster/,
  );
  await client.delete(pods, ns, 'p', { gracePeriodSeconds: 0 });
  await no(token, ['istio-ca'], /does not exist any more/);
  await assert.rejects(
    client.createToken(ns, 'default', [], 60),
    /may not specify a duration less than 10 minutes/,
  );
  await assert.rejects(client.createToken(ns, 'nobody', [], 3600), isNotFound);
});

test('a Secret may ask for a token, which ends with it', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(secrets, ns, {
    metadata: { name: 't', annotations: { 'kubernetes.io/service-account.name': 'late' } },
    type: 'kubernetes.io/service-account-token',
  });
  await client.create(serviceAccounts, ns, { metadata: { name: 'late' } });
  const { data } = await eventually(async () => {
    const secret = await client.get(secrets, ns, 't');
    return secret.data?.['token'] === undefined ? undefined : secret;
  });
  const token = Buffer.from(data?.['token'] ?? '', 'base64').toString();
  const review = await client.tokenReview(token);
  assert.equal(review.authenticated && review.user.username, `system:serviceaccount:${ns}:late`);
  assert.match(Buffer.from(data?.['ca.crt'] ?? '', 'base64').toString(), /BEGIN CERTIFICATE/);
  await client.delete(serviceAccounts, ns, 'late');
  await eventually(async () => ((await client.find(secrets, ns, 't')) === undefined ? true : undefined));
  assert.equal((await client.tokenReview(token)).authenticated, false);
});

test('a request to sign says who asked, whatever it claims', async () => {
  const made = await shared.client.create(certificateSigningRequests, undefined, {
    metadata: { name: 'csr' },
    spec: {
      request: 'QQ==',
      signerName: 'example.com/signer',
      usages: ['client auth'],
      username: 'somebody',
    },
  });
  const spec = made['spec'] as { username: string; groups: string[] };
  assert.deepEqual(
    [spec.username, spec.groups],
    ['kubernetes-admin', ['system:masters', 'system:authenticated']],
  );
  const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests/csr';
  const approve = await shared.raw('PUT', `${path}/approval`, {
    body: JSON.stringify({
      ...made,
      status: { certificate: 'QQ==', conditions: [{ type: 'Approved', status: 'True' }] },
    }),
  });
  assert.deepEqual(approve.json['status'], { conditions: [{ type: 'Approved', status: 'True' }] });
  const signed = await shared.raw('PATCH', `${path}/status`, {
    body: JSON.stringify({ status: { certificate: 'QUI=' } }),
    headers: { 'content-type': 'application/merge-patch+json' },
  });
  assert.deepEqual(signed.json['status'], {
    conditions: [{ type: 'Approved', status: 'True' }],
    certificate: 'QUI=',
  });
});

test('a service account gets in with its token, and may not act for others', async () => {
  const { client } = shared;
  const ns = await fresh();
  await eventually(() => client.find(serviceAccounts, ns, 'default'));
  const { token } = await client.createToken(ns, 'default', [], 3600);
  const { clientCert: _c, clientKey: _k, ...config } = loadKubeconfig(shared.server.kubeconfig);
  using account = KubeClient.fromConfig({ ...config, token: () => token });
  assert.ok((await account.list(pods)).items.length >= 0);
  const who = await account.request<{ status: { userInfo: { username: string } } }>(
    'POST',
    '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    {},
  );
  assert.equal(who.status.userInfo.username, `system:serviceaccount:${ns}:default`);
  const as = await shared.raw('GET', '/api/v1/pods', {
    anonymous: true,
    headers: { authorization: `Bearer ${token}`, 'impersonate-user': 'admin' },
  });
  assert.equal(as.code, 403);
  const admin = await shared.raw('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
    body: '{}',
    headers: { 'impersonate-user': 'jane', 'impersonate-group': 'devs' },
  });
  assert.deepEqual((admin.json['status'] as { userInfo: object }).userInfo, {
    username: 'jane',
    groups: ['devs', 'system:authenticated'],
  });
  const other = await client.createToken(ns, 'default', ['elsewhere'], 3600);
  const wrong = await shared.raw('GET', '/api', {
    anonymous: true,
    headers: { authorization: `Bearer ${other.token}` },
  });
  assert.equal(wrong.code, 401);
});

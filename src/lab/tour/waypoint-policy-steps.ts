// Steps of the tour's second part: policies by path and by token, and one request followed from hop to hop.
import { randomBytes } from 'node:crypto';
import { tourIssuer } from './tour-token.ts';
import { expectThat } from './tour-lab.ts';
import {
  applyFile,
  ask,
  connectionLines,
  requestLine,
  requestLines,
  shop,
  until,
  type WaypointContext,
} from './waypoint-calls.ts';

const page = 'http://productpage:9080';
const denied = 'RBAC: access denied';

export async function denyPath(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(8, 'An AuthorizationPolicy by path: nobody gets to /admin');
  const open = await ask(lab, `${page}/admin/users`);
  tell.show(`before: /admin/users → ${open.status} from ${open.by}`);
  expectThat(open.by === 'productpage-v1', 'before the policy the application should answer');
  await applyFile(context, 'deny-admin.yaml');
  const mark = lab.mark();
  const refused = await until(
    '/admin/users should be refused',
    () => ask(lab, `${page}/admin/users`),
    ({ status }) => status === 403,
  );
  expectThat(refused.body === denied, `the body should be "${denied}", not "${refused.body}"`);
  tell.show(`after:  /admin/users → ${refused.status} ${refused.body}`);
  for (const [path, wanted] of [
    ['/x/../admin/users', 403],
    ['/%61dmin/users', 403],
    ['/x/..;/admin/users', 400],
    ['/api/v1/products', 200],
  ] as const) {
    const { status, body } = await ask(lab, `${page}${path}`);
    tell.show(`after:  ${path} → ${status}${status === 403 ? ` ${body}` : ''}`);
    expectThat(status === wanted, `${path} should be answered with ${wanted}, not ${status}`);
  }
  await requestLine(
    context,
    mark,
    'a line that names the policy',
    ({ fields }) => fields['details']?.includes('policy[deny-admin]') === true,
  );
}

export async function tokens(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(9, 'A token: who has none is refused, and who forges one');
  const url = `${page}/api/v1/products`;
  const issuer = tourIssuer('tour@aura');
  const forger = tourIssuer('tour@aura');
  tell.say('A key pair is made; the RequestAuthentication gets the public half in the place of JWKS.');
  await applyFile(context, 'jwt.yaml', { JWKS: issuer.jwks });
  const mark = lab.mark();
  const without = await until(
    'a request without a token should be refused',
    () => ask(lab, url),
    ({ status }) => status === 403,
  );
  tell.show(`no token:         ${without.status} ${without.body}`);
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  // The two objects travel apart: with the policy but not yet the keys, a token is nobody's.
  const good = await until(
    'a good token should be taken',
    () => ask(lab, url, bearer(issuer.token('anna'))),
    ({ status }) => status === 200,
  );
  const bad = await ask(lab, url, bearer(forger.token('anna')));
  tell.show(`of another key:   ${bad.status} ${bad.body}`);
  expectThat(bad.status === 401, `a token of another key should be answered with 401, not ${bad.status}`);
  tell.show(`token of anna:    ${good.status} from ${good.by}`);
  for (const status of ['403', '401', '200'])
    await requestLine(
      context,
      mark,
      `a line with status ${status}`,
      ({ fields }) => fields['path'] === '/api/v1/products' && fields['status'] === status,
    );
}

interface Seen {
  readonly headers: Readonly<Record<string, string>>;
  readonly origin: string;
}

export async function allHops({ lab, tell }: WaypointContext): Promise<void> {
  tell.step(10, 'One request, hop by hop');
  const trace = randomBytes(16).toString('hex');
  const traceparent = `00-${trace}-${randomBytes(8).toString('hex')}-01`;
  tell.command(
    `aura lab exec -n ${shop} deploy/curl -- curl -H 'traceparent: ${traceparent}' http://httpbin/get`,
  );
  const mark = lab.mark();
  const answer = await ask(lab, 'http://httpbin/get', { traceparent });
  expectThat(answer.status === 200, `httpbin should answer, not with ${answer.status}`);
  const seen = JSON.parse(answer.body) as Seen;

  const client = await lab.linesSince(mark, 'ztunnel', 'an outbound line to the waypoint', (lines) =>
    connectionLines(lines).find(
      ({ fields }) =>
        fields['direction'] === 'outbound' &&
        fields['dst.service'] === `httpbin.${shop}.svc.cluster.local` &&
        fields['dst.workload']?.startsWith('waypoint-') === true,
    ),
  );
  tell.show(`client's ztunnel, on ${client.node}: ${client.line}`);
  const hop = await lab.linesSince(mark, 'waypoint', `a line with ${traceparent}`, (lines) =>
    requestLines(lines).find(({ fields }) => fields['traceparent']?.includes(trace) === true),
  );
  tell.show(`waypoint: ${hop.line}`);
  expectThat(
    hop.fields['identity'] === client.fields['src.identity'],
    'the waypoint should know the client by the identity that its ztunnel has shown',
  );
  // The waypoint keeps the connection for the next request; the rule of httpbin.yaml then asks for a new one, and the
  // line of the first is written.
  const served = await until(
    "the destination's ztunnel should write a line",
    async () => {
      await ask(lab, 'http://httpbin/get');
      return connectionLines(lab.since(mark, 'ztunnel')).filter(
        ({ fields }) =>
          fields['direction'] === 'inbound' && fields['dst.workload']?.startsWith('httpbin-') === true,
      );
    },
    (lines) => lines.length > 0,
  );
  const [destination] = served;
  expectThat(destination !== undefined, 'there should be a line');
  tell.show(`destination's ztunnel, on ${destination.node}: ${destination.line}`);
  expectThat(
    destination.fields['src.identity'] === `spiffe://cluster.local/ns/${shop}/sa/waypoint`,
    'the destination should know the waypoint by its identity',
  );
  tell.show(`application: peer ${seen.origin}, ${JSON.stringify(seen.headers)}`);
  expectThat(
    seen.headers['x-request-id'] === hop.fields['request_id'],
    "the application should see the request id of the waypoint's line",
  );
  expectThat(
    seen.headers['traceparent']?.includes(trace) === true,
    'the application should see the trace that the client has begun',
  );
  tell.say(
    `Request ${hop.fields['request_id']} and trace ${trace} are the same in the waypoint's line and in the application.`,
  );
  tell.say("ztunnel's lines are of connections: client → waypoint, and waypoint → application.");
}

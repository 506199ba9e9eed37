import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpMatch, HttpRoute, RequestFacts } from '#/model/index.ts';
import { seededRandom } from '../../../test/mesh-records.ts';
import { compileRequestMatcher } from './request-matcher.ts';
import { HttpRouteTables } from './route-table.ts';
import {
  aRequest,
  aRoute,
  aRule,
  elements,
  exact,
  header,
  prefix,
  regex,
  service,
  type RequestParts,
} from './test-requests.ts';

const gateway = 'ns/waypoint';

function tablesOf(...routes: readonly HttpRoute[]): HttpRouteTables {
  const tables = new HttpRouteTables();
  for (const route of routes) tables.put(route);
  return tables;
}

function found(tables: HttpRouteTables, request: RequestFacts, port = 80, to: string | undefined = service) {
  const match = tables.match(request, { service: to, gateway, port });
  return typeof match === 'object' ? match.rule.name : (match ?? 'none');
}

test('one match: what it takes and what not', () => {
  const rows: readonly [HttpMatch, string, RequestParts, boolean][] = [
    [{}, 'GET /', {}, true],
    [{ path: exact('/a') }, 'GET /a', {}, true],
    [{ path: exact('/a') }, 'GET /a/', {}, false],
    [{ path: exact('/a') }, 'GET /A', {}, false],
    [{ path: exact('/a') }, 'GET /a?b=c', {}, true],
    [{ path: elements('/a') }, 'GET /a', {}, true],
    [{ path: elements('/a') }, 'GET /a/b', {}, true],
    [{ path: elements('/a') }, 'GET /ab', {}, false],
    [{ path: elements('/a/') }, 'GET /a', {}, true],
    [{ path: elements('/a/') }, 'GET /a/', {}, true],
    [{ path: elements('/') }, 'GET /ab', {}, true],
    [{ path: prefix('/a') }, 'GET /ab', {}, true],
    [{ path: prefix('/a/') }, 'GET /a', {}, false],
    [{ path: regex('/v[12]/.*') }, 'GET /v1/x', {}, true],
    [{ path: regex('/v[12]') }, 'GET /v1/x', {}, false],
    [{ path: regex('/v[12]') }, 'GET /x/v1', {}, false],
    [{ path: regex('/a(?=b)') }, 'GET /ab', {}, false],
    [{ path: { kind: 'suffix', value: '.js' } }, 'GET /a.js', {}, true],
    [{ path: exact('/a'), ignorePathCase: true }, 'GET /A', {}, true],
    [{ path: prefix('/a'), ignorePathCase: true }, 'GET /AB', {}, true],
    [{ method: exact('GET') }, 'GET /', {}, true],
    [{ method: exact('GET') }, 'get /', {}, false],
    [{ scheme: exact('https') }, 'GET /', {}, false],
    [{ authority: exact('a.com') }, 'GET /', { authority: 'a.com:8080' }, true],
    [{ authority: exact('a.com:8080') }, 'GET /', { authority: 'a.com:8080' }, true],
    [{ authority: regex('.*\\.com') }, 'GET /', { authority: 'a.org' }, false],
    [{ port: 80 }, 'GET /', {}, true],
    [{ port: 81 }, 'GET /', {}, false],
    [{ headers: [header('x-a', 'b')] }, 'GET /', { headers: { 'x-a': 'b' } }, true],
    [{ headers: [header('X-A', 'b')] }, 'GET /', { headers: { 'x-a': 'b' } }, true],
    [{ headers: [header('x-a', 'b')] }, 'GET /', { headers: { 'x-a': 'B' } }, false],
    [{ headers: [header('x-a', 'b,c')] }, 'GET /', { headers: { 'x-a': 'b,c' } }, true],
    [{ headers: [header('x-a', 'b')] }, 'GET /', { headers: { 'x-a': 'b,c' } }, false],
    [{ headers: [{ name: 'x-a', match: { kind: 'presence' } }] }, 'GET /', { headers: { 'x-a': '' } }, true],
    [{ headers: [{ name: 'x-a', match: { kind: 'presence' } }] }, 'GET /', {}, false],
    [{ headers: [{ name: 'x-a', match: regex('v.*') }] }, 'GET /', { headers: { 'x-a': 'v2' } }, true],
    [{ headers: [{ name: 'x-a', match: regex('v') }] }, 'GET /', { headers: { 'x-a': 'v2' } }, false],
    [{ headers: [header('x-a', 'b'), header('x-c', 'd')] }, 'GET /', { headers: { 'x-a': 'b' } }, false],
    [{ headers: [header(':method', 'GET')] }, 'GET /', {}, true],
    [{ withoutHeaders: [header('x-a', 'b')] }, 'GET /', { headers: { 'x-a': 'b' } }, false],
    [{ withoutHeaders: [header('x-a', 'b')] }, 'GET /', { headers: { 'x-a': 'c' } }, true],
    [{ withoutHeaders: [header('x-a', 'b')] }, 'GET /', {}, true],
    [{ withoutHeaders: [{ name: 'x-a', match: regex('(') }] }, 'GET /', {}, false],
    [{ query: [header('a', 'b')] }, 'GET /?a=b', {}, true],
    [{ query: [header('a', 'b')] }, 'GET /?a=b&a=c', {}, true],
    [{ query: [header('a', 'c')] }, 'GET /?a=b&a=c', {}, false],
    [{ query: [header('a', 'b c')] }, 'GET /?x&a=b%20c', {}, true],
    [{ query: [header('a b', 'c')] }, 'GET /?a%20b=c', {}, true],
    [{ query: [header('a', '%zz')] }, 'GET /?a=%zz', {}, true],
    [{ query: [header('a', '')] }, 'GET /?a', {}, true],
    [{ query: [{ name: 'a', match: { kind: 'presence' } }] }, 'GET /', {}, false],
  ];
  for (const [match, line, parts, wanted] of rows) {
    const what = `${JSON.stringify(match)} ${line} ${JSON.stringify(parts)}`;
    const request = aRequest(line, parts);
    const tables = tablesOf(aRoute('r', [aRule('yes', [match])]));
    assert.equal(found(tables, request), wanted ? 'yes' : 'no-route', what);
    assert.equal(compileRequestMatcher(match).matches(request, 80), wanted, `alone: ${what}`);
  }
  assert.ok(compileRequestMatcher(undefined).matches(aRequest('GET /'), 80));
  assert.match(compileRequestMatcher({ path: regex('(') }).problem ?? '', /RE2/);
});

test('no routes at all is not the same as no match', () => {
  const tables = tablesOf();
  assert.equal(found(tables, aRequest('GET /')), 'none');
  tables.put(aRoute('r', [aRule('a', [{ path: exact('/a') }])]));
  assert.equal(found(tables, aRequest('GET /')), 'no-route');
  assert.equal(found(tables, aRequest('GET /a'), 80, 'ns/other'), 'none');
  tables.remove('HTTPRoute/ns/r');
  assert.equal(found(tables, aRequest('GET /')), 'none');
  assert.equal(tables.size, 0);
});

test('a pattern that is no RE2 is told, and its match never holds', () => {
  const tables = new HttpRouteTables();
  const problems = tables.put(
    aRoute('r', [aRule('bad', [{ path: regex('/(') }]), aRule('good', [{ path: elements('/x') }])]),
  );
  assert.deepEqual(problems, ['rule 0: path: "/(" is not an RE2 pattern']);
  assert.equal(found(tables, aRequest('GET /x')), 'good');
  assert.equal(found(tables, aRequest('GET /(')), 'no-route');
});

function permutations<T>(list: readonly T[]): T[][] {
  if (list.length <= 1) return [[...list]];
  return list.flatMap((first, i) =>
    permutations(list.filter((_, at) => at !== i)).map((rest) => [first, ...rest]),
  );
}

test('precedence of Gateway API, whatever order the routes come in', () => {
  const match: Record<string, HttpMatch> = {
    exact: { path: exact('/a/b') },
    long: { path: elements('/a/b') },
    short: { path: elements('/a') },
    regex: { path: regex('/a/.*') },
    root: { path: elements('/'), method: exact('GET'), headers: [header('x', '1'), header('y', '1')] },
  };
  const order = Object.keys(match);
  const request = aRequest('GET /a/b', { headers: { x: '1', y: '1' } });
  for (let from = 0; from < order.length; from++)
    for (const names of permutations(order.slice(from)).slice(0, 40)) {
      const routes = names.map((name) => aRoute(name, [aRule(name, [match[name] as HttpMatch])]));
      assert.equal(found(tablesOf(...routes), request), order[from], names.join());
      const asRules = names.map((name) => aRule(name, [match[name] as HttpMatch]));
      assert.equal(found(tablesOf(aRoute('all', asRules)), request), order[from], `rules ${names.join()}`);
    }
});

test('ties: method, headers, query, then the older, then the name, then the order of rules', () => {
  const x = header('x', '1');
  const y = header('y', '1');
  const q = header('q', '1');
  const request = aRequest('GET /a?q=1', { headers: { x: '1', y: '1' } });
  const path = elements('/a');
  const rows: readonly [HttpMatch, HttpMatch][] = [
    [
      { path, method: exact('GET') },
      { path, headers: [x, y], query: [q] },
    ],
    [
      { path, headers: [x, y] },
      { path, headers: [x], query: [q] },
    ],
    [{ path, query: [q] }, { path }],
  ];
  for (const [first, second] of rows) {
    const rules = [aRule('second', [second]), aRule('first', [first])];
    assert.equal(found(tablesOf(aRoute('r', rules)), request), 'first');
    assert.equal(
      found(
        tablesOf(
          ...rules.map((rule, i) =>
            aRoute(`r${i}`, [rule], { order: { createdAt: i, namespace: 'ns', name: `r${i}` } }),
          ),
        ),
        request,
      ),
      'first',
    );
  }
  const at = (createdAt: number, namespace: string, name: string) =>
    aRoute(`${namespace}-${name}`, [aRule(`${createdAt} ${namespace}/${name}`, [{ path }])], {
      order: { createdAt, namespace, name },
    });
  const ordered = [at(1, 'z', 'z'), at(2, 'a', 'b'), at(2, 'a', 'c'), at(2, 'b', 'a')];
  for (const routes of permutations(ordered)) assert.equal(found(tablesOf(...routes), request), '1 z/z');
  for (const routes of permutations(ordered.slice(1)))
    assert.equal(found(tablesOf(...routes), request), '2 a/b');
  assert.equal(
    found(tablesOf(aRoute('r', [aRule('one', [{ path }]), aRule('two', [{ path }])])), request),
    'one',
  );
});

test('a look-up finds what a walk over all matches would, for any routes in any order', () => {
  const random = seededRandom(7);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const paths = ['/', '/a', '/a/b', '/a/b/c', '/ab', '/b'];
  for (let round = 0; round < 60; round++) {
    const precedence = pick(['specificity', 'listed'] as const);
    const routes = Array.from({ length: 6 }, (_, i) =>
      aRoute(
        `r${i}`,
        Array.from({ length: 3 }, (_unused, rule) =>
          aRule(`r${i}.${rule}`, [
            {
              path: pick([exact, elements, regex, ...(precedence === 'listed' ? [prefix] : [])])(pick(paths)),
              ...(random() < 0.3 && { method: exact('GET') }),
              ...(random() < 0.3 && { headers: [header('x', pick(['1', '2']))] }),
            },
          ]),
        ),
        {
          precedence,
          order: { createdAt: pick([1, 2]), namespace: 'ns', name: `r${i}` },
          parents: [{ kind: 'service', service, ...(random() < 0.3 && { port: pick([80, 81]) }) }],
        },
      ),
    );
    const forward = tablesOf(...routes);
    const backward = tablesOf(...routes.toReversed());
    // A route that came, went and came back changes nothing.
    for (const route of routes.slice(0, 3)) backward.put(route);
    for (const path of [...paths, '/c'])
      for (const parts of [{}, { headers: { x: '1' } }]) {
        const request = aRequest(`GET ${path}`, parts);
        assert.equal(found(forward, request), found(backward, request));
        assert.equal(found(forward, request), walk(routes, request));
      }
  }
});

/** The specification read literally, without an index. */
function walk(routes: readonly HttpRoute[], request: RequestFacts): string {
  const all = routes
    .filter(({ parents }) => (parents[0]?.port ?? 80) === 80)
    .toSorted((a, b) => a.order.createdAt - b.order.createdAt || (a.name < b.name ? -1 : 1))
    .flatMap(({ rules }) => rules);
  if (all.length === 0) return 'none';
  const rank = (m: HttpMatch): number[] => {
    const path = m.path as { kind: string; value: string };
    const kind = path.kind === 'exact' ? 3 : path.kind === 'regex' ? 1 : path.value === '/' ? 0 : 2;
    return [kind, path.value.length, m.method ? 1 : 0, m.headers?.length ?? 0];
  };
  const holds = (m: HttpMatch): boolean => {
    const path = m.path as { kind: string; value: string };
    const pathHolds =
      path.kind === 'exact' || path.kind === 'regex'
        ? request.path === path.value
        : path.kind === 'prefix' || path.value === '/'
          ? request.path.startsWith(path.value)
          : request.path === path.value || request.path.startsWith(`${path.value}/`);
    return (
      pathHolds &&
      (m.headers ?? []).every(
        ({ name, match }) => match.kind === 'exact' && request.headers.get(name) === match.value,
      )
    );
  };
  const compare = (a: HttpMatch, b: HttpMatch): number => {
    const [x, y] = [rank(a), rank(b)];
    for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return (y[i] as number) - (x[i] as number);
    return 0;
  };
  const listed = routes[0]?.precedence === 'listed';
  const matching = all.filter((rule) => holds(rule.matches[0] as HttpMatch));
  const sorted = listed
    ? matching
    : matching.toSorted((a, b) => compare(a.matches[0] as HttpMatch, b.matches[0] as HttpMatch));
  return sorted[0]?.name ?? 'no-route';
}

test('listed: the first that matches, whatever it is', () => {
  const rules = [
    aRule('case', [{ path: prefix('/API'), ignorePathCase: true }]),
    aRule('short', [{ path: prefix('/a') }]),
    aRule('exact', [{ path: exact('/a/b') }]),
    aRule('rest', []),
    aRule('late', [{ path: exact('/late') }]),
  ];
  const tables = tablesOf(aRoute('vs', rules, { precedence: 'listed' }));
  assert.equal(found(tables, aRequest('GET /api')), 'case');
  assert.equal(found(tables, aRequest('GET /a/b')), 'short');
  assert.equal(found(tables, aRequest('GET /late')), 'rest');
});

test('Gateway API routes win over VirtualServices, and both over those of the waypoint', () => {
  const own = aRoute('own', [aRule('own', [{ path: exact('/own') }])]);
  const virtual = aRoute('vs', [aRule('vs', [])], { name: 'VirtualService/ns/vs', precedence: 'listed' });
  const general = aRoute('wp', [aRule('wp', [])], { parents: [{ kind: 'waypoint', gateway }] });
  const tables = tablesOf(own, virtual, general);
  assert.equal(found(tables, aRequest('GET /own')), 'own');
  assert.equal(found(tables, aRequest('GET /x')), 'no-route');
  tables.remove(own.name);
  assert.equal(found(tables, aRequest('GET /own')), 'vs');
  tables.remove(virtual.name);
  assert.equal(found(tables, aRequest('GET /own')), 'wp');
  assert.equal(found(tables, aRequest('GET /own'), 80, undefined), 'wp');
});

test('parents with a port, beside parents without', () => {
  const tables = tablesOf(
    aRoute('p', [aRule('p', [{ path: elements('/a') }])], {
      parents: [{ kind: 'service', service, port: 81 }],
    }),
  );
  assert.equal(found(tables, aRequest('GET /a'), 80), 'none');
  assert.equal(found(tables, aRequest('GET /a'), 81), 'p');
  tables.put(aRoute('all', [aRule('all', [{ path: exact('/a') }, { path: elements('/') }])]));
  assert.equal(found(tables, aRequest('GET /a'), 81), 'all');
  assert.equal(found(tables, aRequest('GET /a/b'), 81), 'p');
  assert.equal(found(tables, aRequest('GET /b'), 81), 'all');
});

test('hostnames of a waypoint: exact, then the longest wildcard, then any', () => {
  const parents = [{ kind: 'waypoint', gateway }] as const;
  const at = (name: string, hostnames: readonly string[], path = '/') =>
    aRoute(name, [aRule(name, [{ path: elements(path) }])], { parents, hostnames });
  const routes = [at('exact', ['a.b.com'], '/x'), at('narrow', ['*.b.com'], '/'), at('wide', ['*.com'])];
  for (const list of permutations(routes)) {
    const tables = tablesOf(...list);
    const host = (authority: string, path = '/x') => found(tables, aRequest(`GET ${path}`, { authority }));
    assert.equal(host('a.b.com'), 'exact');
    assert.equal(host('a.b.com:8080'), 'exact');
    assert.equal(host('a.b.com', '/y'), 'narrow');
    assert.equal(host('c.a.b.com'), 'narrow');
    assert.equal(host('b.com'), 'wide');
    assert.equal(host('com'), 'none');
    assert.equal(host('[::1]:80'), 'none');
    tables.put(at('any', []));
    assert.equal(host('com'), 'any');
  }
  const single = tablesOf(at('exact', ['a.b.com'], '/x'));
  assert.equal(found(single, aRequest('GET /y', { authority: 'a.b.com' })), 'no-route');
});

test('GRPCRoute: gRPC requests only; service and method before service before method', () => {
  const rules = [
    aRule('headers', [{ headers: [header('x', '1')] }]),
    aRule('method', [{ path: regex('/[^/]+/Get') }]),
    aRule('service', [{ path: prefix('/a.B/') }]),
    aRule('both', [{ path: exact('/a.B/Get') }]),
  ];
  const tables = tablesOf(aRoute('g', rules, { protocol: 'grpc', name: 'GRPCRoute/ns/g' }));
  const at = (path: string, grpc = true) =>
    found(tables, aRequest(`POST ${path}`, { grpc, headers: { x: '1' } }));
  assert.equal(at('/a.B/Get'), 'both');
  assert.equal(at('/a.B/Put'), 'service');
  assert.equal(at('/a.C/Get'), 'method');
  assert.equal(at('/a.C/Put'), 'headers');
  assert.equal(at('/a.B/Get', false), 'no-route');
});

test('a route that is changed replaces what it was', () => {
  const tables = tablesOf(aRoute('r', [aRule('a', [{ path: elements('/a') }])]));
  tables.put(aRoute('r', [aRule('b', [{ path: elements('/b') }])]));
  assert.equal(found(tables, aRequest('GET /a')), 'no-route');
  assert.equal(found(tables, aRequest('GET /b')), 'b');
  assert.equal(tables.size, 1);
});

// HTTPRoute's matches: path, headers, method, query, and their precedence.
import { test } from 'node:test';
import { httpCase, route, service } from './backends.ts';
import type { Feature } from './feature.ts';

const to = (version: string): string => `backendRefs: [{ name: echo-${version}, port: 80 }]`;

/** The core of matching is part of the feature HTTPRoute itself; see also header-cases.ts and status-cases.ts. */
export const matchingManifest = [
  httpCase(
    'matching',
    `
  - matches:
      - { path: { type: PathPrefix, value: / } }
      - { headers: [{ name: version, value: one }] }
    ${to('v1')}
  - matches:
      - { path: { type: PathPrefix, value: /v2 } }
      - { headers: [{ name: Version, value: two }] }
    ${to('v2')}`,
  ),
  httpCase(
    'paths',
    `
  - matches: [{ path: { type: PathPrefix, value: /match } }]
    ${to('v1')}
  - matches: [{ path: { type: PathPrefix, value: /match/prefix/one } }, { path: { type: Exact, value: /match/exact } }]
    ${to('v2')}
  - matches: [{ path: { type: PathPrefix, value: /slash/ } }]
    ${to('v2')}
  - matches: [{ path: { type: Exact, value: /exact/ } }]
    ${to('v2')}
  - matches: [{ path: { type: RegularExpression, value: '/r/[0-9]+' } }]
    ${to('v2')}`,
  ),
  httpCase(
    'headers',
    `
  - matches: [{ headers: [{ name: color, value: blue }, { name: size, value: big }] }]
    ${to('v2')}
  - matches: [{ headers: [{ name: color, value: blue }] }, { headers: [{ name: color, value: green }] }]
    ${to('v1')}
  - matches: [{ headers: [{ name: shape, type: RegularExpression, value: 'round|sq.*' }] }]
    ${to('v2')}
  - matches: [{ headers: [{ name: twice, value: first }, { name: TWICE, value: second }] }]
    ${to('v1')}`,
  ),
  // The same match twice: the older route has it, and then the name decides.
  service('across'),
  route(
    'HTTPRoute',
    'across-a',
    ['across'],
    `rules:\n  - matches: [{ path: { value: /same } }]\n    ${to('v1')}`,
  ),
  route(
    'HTTPRoute',
    'across-b',
    ['across'],
    `
rules:
  - matches: [{ path: { value: /same } }]
    ${to('v2')}
  - matches: [{ path: { value: /same/longer } }, { path: { value: /same }, headers: [{ name: pick, value: b }] }]
    ${to('v2')}`,
  ),
].join('');

export const matchingTests: Feature['tests'] = (lab) => {
  test('MeshHTTPRouteMatching: by path and by header, whichever is more specific', async () => {
    await lab.expect({ url: 'http://matching/' }, { version: 'v1' });
    await lab.expect({ url: 'http://matching/example' }, { version: 'v1' });
    await lab.expect({ url: 'http://matching/', headers: { version: 'one' } }, { version: 'v1' });
    await lab.expect({ url: 'http://matching/v2' }, { version: 'v2' });
    await lab.expect({ url: 'http://matching/v2/', headers: { version: 'one' } }, { version: 'v2' });
    await lab.expect({ url: 'http://matching/v2example' }, { version: 'v1' });
    await lab.expect({ url: 'http://matching/foo/v2/example' }, { version: 'v1' });
    await lab.expect({ url: 'http://matching/', headers: { VERSION: 'two' } }, { version: 'v2' });
  });

  test('an exact path is before a prefix, a longer prefix before a shorter one', async () => {
    await lab.expect({ url: 'http://paths/match' }, { version: 'v1' });
    await lab.expect({ url: 'http://paths/match/exact' }, { version: 'v2' });
    await lab.expect({ url: 'http://paths/match/exact/' }, { version: 'v1' });
    await lab.expect({ url: 'http://paths/match/prefix/one/two' }, { version: 'v2' });
    await lab.expect({ url: 'http://paths/match/prefix/oneself' }, { version: 'v1' });
    await lab.expect({ url: 'http://paths/Match' }, { status: 404 });
  });

  test('a prefix is whole elements: a slash at its end does not count, that of an exact path does', async () => {
    await lab.expect({ url: 'http://paths/slash' }, { version: 'v2' });
    await lab.expect({ url: 'http://paths/slash/' }, { version: 'v2' });
    await lab.expect({ url: 'http://paths/slash/x?y' }, { version: 'v2' });
    await lab.expect({ url: 'http://paths/slashx' }, { status: 404 });
    await lab.expect({ url: 'http://paths/exact/' }, { version: 'v2' });
    await lab.expect({ url: 'http://paths/exact' }, { status: 404 });
  });

  test('a regular expression covers the whole path', async () => {
    await lab.expect({ url: 'http://paths/r/12' }, { version: 'v2' });
    await lab.expect({ url: 'http://paths/r/12?x=1' }, { version: 'v2' });
    await lab.expect({ url: 'http://paths/r/12/x' }, { status: 404 });
  });

  test('headers: all of a match, any of the matches, names without case, of one name the first', async () => {
    await lab.expect({ url: 'http://headers/', headers: { color: 'blue' } }, { version: 'v1' });
    await lab.expect({ url: 'http://headers/', headers: { Color: 'green', size: 'big' } }, { version: 'v1' });
    await lab.expect({ url: 'http://headers/', headers: { color: 'blue', size: 'big' } }, { version: 'v2' });
    await lab.expect({ url: 'http://headers/', headers: { size: 'big' } }, { status: 404 });
    await lab.expect({ url: 'http://headers/', headers: { color: 'Blue' } }, { status: 404 });
    await lab.expect({ url: 'http://headers/', headers: { shape: 'square' } }, { version: 'v2' });
    await lab.expect({ url: 'http://headers/', headers: { shape: 'around' } }, { status: 404 });
    await lab.expect({ url: 'http://headers/', headers: { twice: 'first' } }, { version: 'v1' });
  });

  test('of routes with the same match the older has it, then the first by name', async () => {
    await lab.expect({ url: 'http://across/same' }, { version: 'v1' });
    await lab.expect({ url: 'http://across/same/longer' }, { version: 'v2' });
    await lab.expect({ url: 'http://across/same', headers: { pick: 'b' } }, { version: 'v2' });
  });
};

export const methodFeature: Feature = {
  name: 'HTTPRouteMethodMatching',
  manifest: httpCase(
    'methods',
    `
  - matches: [{ method: POST }, { path: { value: /get }, method: GET }]
    ${to('v1')}
  - matches: [{ method: GET }]
    ${to('v2')}
  - matches: [{ path: { value: /path } }, { method: PATCH, headers: [{ name: version, value: two }] }]
    ${to('v2')}
  - matches: [{ path: { value: /long }, method: DELETE }, { method: PUT, headers: [{ name: version, value: four }] }]
    ${to('v1')}`,
  ),
  tests(lab) {
    test('the method decides, after the path and before headers', async () => {
      const expect = (method: string, path: string, expected: object, headers = {}) =>
        lab.expect({ url: `http://methods${path}`, method, headers }, { method, ...expected });
      await expect('POST', '/', { version: 'v1' });
      await expect('GET', '/', { version: 'v2' });
      await expect('GET', '/get/x', { version: 'v1' });
      await lab.expect({ url: 'http://methods/', method: 'DELETE' }, { status: 404 });
      await expect('DELETE', '/path', { version: 'v2' });
      await expect('DELETE', '/long/x', { version: 'v1' });
      await expect('PUT', '/', { version: 'v1' }, { version: 'four' });
      await expect('PATCH', '/', { version: 'v2' }, { version: 'two' });
      await lab.expect({ url: 'http://methods/', method: 'PATCH' }, { status: 404 });
      // A path wins over a method.
      await expect('POST', '/path', { version: 'v2' });
    });
  },
};

const queryRules = `
  - matches: [{ queryParams: [{ name: animal, value: whale }] }]
    ${to('v1')}
  - matches: [{ queryParams: [{ name: animal, value: dolphin }] }, { queryParams: [{ name: animal, value: dolphin }, { name: color, value: blue }] }]
    ${to('v2')}
  - matches: [{ queryParams: [{ name: ANIMAL, value: Whale }] }]
    ${to('v2')}
  - matches: [{ queryParams: [{ name: animal, value: whale }, { name: color, value: red }] }]
    ${to('v2')}
  - matches: [{ path: { value: /path }, queryParams: [{ name: animal, value: whale }] }]
    ${to('v2')}
  - matches: [{ queryParams: [{ name: num, type: RegularExpression, value: '[0-9]+' }] }]
    ${to('v1')}`;

const queryTests =
  (front: string): Feature['tests'] =>
  (lab) => {
    test('parameters match by name and value, with case, all of a match', async () => {
      await lab.expect({ url: `http://${front}/?animal=whale` }, { version: 'v1', path: '/?animal=whale' });
      await lab.expect({ url: `http://${front}/?animal=dolphin` }, { version: 'v2' });
      await lab.expect({ url: `http://${front}/?color=blue` }, { status: 404 });
      await lab.expect({ url: `http://${front}/?ANIMAL=Whale` }, { version: 'v2' });
      await lab.expect({ url: `http://${front}/?animal=whaledolphin` }, { status: 404 });
      await lab.expect({ url: `http://${front}/` }, { status: 404 });
      await lab.expect({ url: `http://${front}/?num=12` }, { version: 'v1' });
      await lab.expect({ url: `http://${front}/?num=x12` }, { status: 404 });
    });

    test('more parameters are before fewer, a path before them, and the first of a name counts', async () => {
      await lab.expect({ url: `http://${front}/?animal=whale&color=red` }, { version: 'v2' });
      await lab.expect({ url: `http://${front}/?color=blue&animal=whale` }, { version: 'v1' });
      await lab.expect({ url: `http://${front}/path?animal=whale` }, { version: 'v2' });
      await lab.expect({ url: `http://${front}/?animal=dolphin&animal=whale` }, { version: 'v2' });
      await lab.expect({ url: `http://${front}/?animal=%77hale` }, { version: 'v1' });
    });
  };

export const queryFeature: Feature = {
  name: 'HTTPRouteQueryParamMatching',
  manifest: httpCase('query', queryRules),
  tests: queryTests('query'),
};

export const meshQueryFeature: Feature = {
  name: 'MeshHTTPRouteQueryParamMatching',
  manifest:
    service('mesh-query') +
    route(
      'HTTPRoute',
      'mesh-query',
      [`{ group: '', kind: Service, name: mesh-query, port: 8080 }`],
      `rules:${queryRules}`,
    ),
  tests: queryTests('mesh-query:8080'),
};

// Changes of headers: of requests and responses, for a rule and for one backend.
import { test } from 'node:test';
import { httpCase } from './backends.ts';
import type { Feature } from './feature.ts';

const change = (kind: 'request' | 'response', text: string): string =>
  kind === 'request'
    ? `{ type: RequestHeaderModifier, requestHeaderModifier: { ${text} } }`
    : `{ type: ResponseHeaderModifier, responseHeaderModifier: { ${text} } }`;

const set = 'set: [{ name: X-Set, value: set-value }]';
const add = 'add: [{ name: X-Add, value: add-value }]';
const remove = 'remove: [X-Remove]';
const several =
  'set: [{ name: X-Set-1, value: one }, { name: X-Set-2, value: two }], ' +
  'add: [{ name: X-Add-1, value: one }, { name: X-Add-2, value: two }, { name: x-add-3, value: three }], ' +
  'remove: [X-Remove-1, x-remove-2]';

const kinds = { set, add, remove, several };

const rules = (kind: 'request' | 'response', where: 'rule' | 'backend'): string =>
  Object.entries(kinds)
    .map(([path, text]) => {
      const filters = `filters: [${change(kind, text)}]`;
      return where === 'rule'
        ? `
  - matches: [{ path: { value: /${path} } }]
    ${filters}
    backendRefs: [{ name: echo-v1, port: 80 }]`
        : `
  - matches: [{ path: { value: /${path} } }]
    backendRefs: [{ name: echo-v1, port: 80, ${filters} }]`;
    })
    .join('');

const requestTests =
  (front: string): Feature['tests'] =>
  (lab) => {
    const expect = (
      path: string,
      headers: Record<string, string>,
      seen: Record<string, string | undefined>,
    ) => lab.expect({ url: `http://${front}/${path}`, headers }, { version: 'v1', seen });

    test('a header of the request is set, whether it was there or not', async () => {
      await expect('set', { 'some-other': 'stays' }, { 'x-set': 'set-value', 'some-other': 'stays' });
      await expect('set', { 'x-set': 'client' }, { 'x-set': 'set-value' });
    });

    test('a header of the request is added to what is there', async () => {
      await expect('add', {}, { 'x-add': 'add-value' });
      await expect('add', { 'x-add': 'client' }, { 'x-add': 'client, add-value' });
    });

    test('a header of the request is removed, without regard to case', async () => {
      await expect(
        'remove',
        { 'x-REMOVE': 'client', 'x-keep': 'yes' },
        { 'x-remove': undefined, 'x-keep': 'yes' },
      );
    });

    test('several headers of a request change at once', async () => {
      await expect(
        'several',
        { 'x-set-1': 'old', 'x-add-2': 'old', 'x-remove-1': 'a', 'X-Remove-2': 'b', 'x-remove-3': 'c' },
        {
          'x-set-1': 'one',
          'x-set-2': 'two',
          'x-add-1': 'one',
          'x-add-2': 'old, two',
          'x-add-3': 'three',
          'x-remove-1': undefined,
          'x-remove-2': undefined,
          'x-remove-3': 'c',
        },
      );
    });
  };

/** Of the feature HTTPRoute itself. */
export const headerManifest = httpCase('request-headers', rules('request', 'rule'));

export const headerTests: Feature['tests'] = (lab) => {
  // MeshHTTPRouteRequestHeaderModifier of the suite.
  requestTests('request-headers')(lab);
};

const backendFeature = (name: string, front: string): Feature => ({
  name,
  manifest: httpCase(
    front,
    `${rules('request', 'backend')}
  - matches: [{ path: { value: /each } }]
    filters: [${change('request', 'set: [{ name: x-who, value: rule }, { name: x-rule, value: rule }]')}]
    backendRefs:
      - { name: echo-v1, port: 80, filters: [${change('request', 'set: [{ name: x-who, value: one }]')}] }
      - { name: echo-v2, port: 80, filters: [${change('request', 'set: [{ name: x-who, value: two }]')}] }`,
  ),
  tests(lab) {
    requestTests(front)(lab);
    test('each backend has changes of its own, after those of the rule', async () => {
      for (const [version, who] of [
        ['v1', 'one'],
        ['v2', 'two'],
      ])
        await lab.expect(
          { url: `http://${front}/each` },
          { version: version as string, seen: { 'x-who': who, 'x-rule': 'rule' } },
        );
    });
  },
});

export const headerFeatures: readonly Feature[] = [
  backendFeature('HTTPRouteBackendRequestHeaderModification', 'backend-headers'),
  backendFeature('MeshHTTPRouteBackendRequestHeaderModification', 'mesh-backend-headers'),
  {
    name: 'HTTPRouteResponseHeaderModification',
    manifest:
      httpCase('response-headers', rules('response', 'rule')) +
      httpCase('backend-response-headers', rules('response', 'backend')),
    tests(lab) {
      for (const front of ['response-headers', 'backend-response-headers']) {
        const expect = (
          path: string,
          told: Record<string, string>,
          headers: Record<string, string | undefined>,
        ) => {
          const wishes = Object.entries(told).map(([name, value]) => [`x-echo-set-${name}`, value]);
          return lab.expect(
            { url: `http://${front}/${path}`, headers: Object.fromEntries(wishes) as Record<string, string> },
            { version: 'v1', headers },
          );
        };
        test(`headers of a response are set, added and removed (${front})`, async () => {
          await expect('set', {}, { 'x-set': 'set-value' });
          await expect(
            'set',
            { 'x-set': 'backend', 'x-keep': 'yes' },
            { 'x-set': 'set-value', 'x-keep': 'yes' },
          );
          await expect('add', {}, { 'x-add': 'add-value' });
          await expect('add', { 'x-add': 'backend' }, { 'x-add': 'backend, add-value' });
          await expect('remove', { 'X-Remove': 'backend' }, { 'x-remove': undefined });
          await expect(
            'several',
            { 'x-set-1': 'old', 'x-add-2': 'old', 'x-remove-1': 'a', 'x-remove-3': 'c' },
            {
              'x-set-1': 'one',
              'x-set-2': 'two',
              'x-add-1': 'one',
              'x-add-2': 'old, two',
              'x-add-3': 'three',
              'x-remove-1': undefined,
              'x-remove-3': 'c',
            },
          );
        });
      }
    },
  },
];

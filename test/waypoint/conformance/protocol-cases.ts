// What is spoken to backends, and names of rules.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpCase } from './backends.ts';
import { reportOf } from './conformance-lab.ts';
import type { Feature } from './feature.ts';

const namedRules = `
  - name: first-rule
    matches: [{ path: { value: /first } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - name: second-rule
    matches: [{ path: { value: /second } }]
    backendRefs: [{ name: echo-v2, port: 80 }]
  - backendRefs: [{ name: echo-v2, port: 80 }]`;

const namedFeature = (name: string, front: string): Feature => ({
  name,
  manifest: httpCase(front, namedRules),
  tests(lab) {
    test('rules with names do what rules do, and changes of the route may name them', async () => {
      await lab.expect({ url: `http://${front}/first` }, { version: 'v1' });
      await lab.expect({ url: `http://${front}/second` }, { version: 'v2' });
      await lab.expect({ url: `http://${front}/other` }, { version: 'v2' });
      await lab.expectStatus('HTTPRoute', front, front, { Accepted: 'True Accepted' });
      const { spec } = (await lab.get('HTTPRoute', front)) as unknown as {
        spec: { rules: readonly { name?: string }[] };
      };
      assert.deepEqual(
        spec.rules.map((rule) => rule.name),
        ['first-rule', 'second-rule', undefined],
      );
    });
  },
});

export const protocolFeatures: readonly Feature[] = [
  {
    name: 'HTTPRouteBackendProtocolH2C',
    manifest: httpCase(
      'h2c',
      `
  - matches: [{ path: { value: /h2c } }]
    backendRefs: [{ name: echo-v1, port: 7070 }]
  - backendRefs: [{ name: echo-v1, port: 80 }]`,
    ),
    tests(lab) {
      test('a backend of kubernetes.io/h2c is spoken to in HTTP/2, whatever the client speaks', async () => {
        for (const protocol of ['http1', 'h2c'] as const) {
          await lab.expect(
            { url: 'http://h2c/h2c/x?y', protocol },
            { protocol: 'HTTP/2.0', path: '/h2c/x?y' },
          );
          const body = 'b'.repeat(200_000);
          await lab.expect({ url: 'http://h2c/h2c', protocol, method: 'POST', body }, { body });
        }
      });

      test('many requests at once to it have each its own answer', async () => {
        const mark = lab.mark();
        const headers = { 'x-mine': mark };
        const answers = await lab.all({ url: 'http://h2c/h2c', protocol: 'h2c', headers, count: 50 });
        for (const answer of answers) assert.equal(reportOf(answer).headers['x-mine'], mark);
      });
    },
  },
  {
    name: 'HTTPRouteBackendProtocolWebSocket',
    manifest: httpCase('websocket', '  - backendRefs: [{ name: echo-v1, port: 7071 }]'),
    tests(lab) {
      test('a WebSocket goes through a route, to a backend of kubernetes.io/ws and to plain HTTP', async () => {
        for (const url of ['http://websocket/', 'http://websocket:7071/', 'http://simple/'])
          await lab.expect(
            { url, protocol: 'websocket', body: 'grüß dich' },
            { status: 101, body: 'grüß dich' },
          );
        await lab.expect({ url: 'http://websocket/' }, { version: 'v1' });
      });
    },
  },
  namedFeature('HTTPRouteNamedRouteRule', 'named'),
  namedFeature('MeshHTTPRouteNamedRouteRule', 'mesh-named'),
];

// Redirects: host, status, path, port and scheme.
import { test } from 'node:test';
import { httpCase } from './backends.ts';
import type { ConformanceLab } from './conformance-lab.ts';
import type { Feature } from './feature.ts';

/** One rule for the path with this redirect. */
const rule = (path: string, redirect: string): string => `
  - matches: [{ path: { type: PathPrefix, value: ${path} } }]
    filters: [{ type: RequestRedirect, requestRedirect: { ${redirect} } }]`;

const redirects = async (
  lab: ConformanceLab,
  from: string,
  location: string,
  status = 302,
  headers: Record<string, string> = {},
): Promise<void> => {
  await lab.expect({ url: `http://${from}`, headers }, { status, headers: { location } });
};

/** Of the feature HTTPRoute itself. */
export const redirectManifest = httpCase(
  'redirect',
  [
    rule('/host', 'hostname: example.org'),
    rule('/status', 'statusCode: 301'),
    rule('/both', 'hostname: example.org, statusCode: 301'),
  ].join(''),
);

export const redirectTests: Feature['tests'] = (lab) => {
  test('MeshHTTPRouteRedirectHostAndStatus: to another host, with 302 or 301', async () => {
    await redirects(lab, 'redirect/host', 'http://example.org/host');
    await redirects(lab, 'redirect/status/x?y=z', 'http://redirect/status/x?y=z', 301);
    await redirects(lab, 'redirect/both', 'http://example.org/both', 301);
    await redirects(lab, 'redirect/status', 'http://asked.example/status', 301, { host: 'asked.example' });
    await redirects(lab, 'redirect:8080/status', 'http://redirect:8080/status', 301);
    // The redirect keeps the port that was addressed, where no scheme asks for another.
    await redirects(lab, 'redirect:8080/host', 'http://example.org:8080/host');
  });
};

export const statusFeatures: readonly Feature[] = [303, 307, 308].map((status) => ({
  name: `HTTPRoute${status}RedirectStatusCode`,
  manifest: httpCase(`redirect-${status}`, rule('/', `hostname: example.org, statusCode: ${status}`)),
  tests(lab) {
    test(`MeshHTTPRoute${status}Redirect: the status is the one asked for, for every method`, async () => {
      for (const method of ['GET', 'POST'])
        await lab.expect(
          { url: `http://redirect-${status}/x`, method },
          { status, headers: { location: 'http://example.org/x' } },
        );
    });
  },
}));

const full = (path: string): string => `path: { type: ReplaceFullPath, replaceFullPath: ${path} }`;
const prefix = (path: string): string => `path: { type: ReplacePrefixMatch, replacePrefixMatch: ${path} }`;

const pathFeature = (name: string, front: string): Feature => ({
  name,
  manifest: httpCase(
    front,
    [
      rule('/original', prefix('/replaced')),
      rule('/full', full('/new/path')),
      rule('/host', `${prefix('/there')}, hostname: example.org`),
      rule('/status', `${full('/status-path')}, statusCode: 301`),
      rule('/strip', prefix('/')),
      rule('/trailing/', prefix('/t/')),
    ].join(''),
  ),
  tests(lab) {
    test('the path is replaced as a whole or by its prefix, and the query stays', async () => {
      await redirects(lab, `${front}/original/lemon`, `http://${front}/replaced/lemon`);
      await redirects(lab, `${front}/original`, `http://${front}/replaced`);
      await redirects(lab, `${front}/original/?a=b`, `http://${front}/replaced/?a=b`);
      await redirects(lab, `${front}/full/path?a=b`, `http://${front}/new/path?a=b`);
      await redirects(lab, `${front}/host/x`, 'http://example.org/there/x');
      await redirects(lab, `${front}/status/x`, `http://${front}/status-path`, 301);
      await redirects(lab, `${front}/strip`, `http://${front}/`);
      await redirects(lab, `${front}/strip/one`, `http://${front}/one`);
      await redirects(lab, `${front}/trailing/one`, `http://${front}/t/one`);
    });
  },
});

const portFeature = (name: string, front: string): Feature => ({
  name,
  manifest: httpCase(
    front,
    [
      rule('/port', 'port: 8083'),
      rule('/own', 'port: 80'),
      rule('/host', 'port: 8083, hostname: example.org'),
      rule('/status', 'port: 8083, statusCode: 301'),
      rule('/all', 'port: 8083, statusCode: 301, hostname: example.org'),
    ].join(''),
  ),
  tests(lab) {
    test('the port is named, unless it is the scheme’s own', async () => {
      await redirects(lab, `${front}/port`, `http://${front}:8083/port`);
      await redirects(lab, `${front}:8080/port`, `http://${front}:8083/port`);
      await redirects(lab, `${front}:8080/own`, `http://${front}/own`);
      await redirects(lab, `${front}/host`, 'http://example.org:8083/host');
      await redirects(lab, `${front}/status`, `http://${front}:8083/status`, 301);
      await redirects(lab, `${front}/all`, 'http://example.org:8083/all', 301);
    });
  },
});

const schemeFeature = (name: string, front: string): Feature => ({
  name,
  manifest: httpCase(
    front,
    [
      rule('/scheme', 'scheme: https'),
      rule('/same', 'scheme: http'),
      rule('/port', 'scheme: https, port: 8443'),
      rule('/odd', 'scheme: https, port: 80'),
      rule('/all', 'scheme: https, hostname: example.org, statusCode: 301'),
    ].join(''),
  ),
  tests(lab) {
    test('another scheme brings its own port with it, unless one is named', async () => {
      await redirects(lab, `${front}/scheme`, `https://${front}/scheme`);
      await redirects(lab, `${front}:8080/scheme`, `https://${front}/scheme`);
      await redirects(lab, `${front}:8080/same`, `http://${front}/same`);
      await redirects(lab, `${front}/port`, `https://${front}:8443/port`);
      await redirects(lab, `${front}/odd`, `https://${front}:80/odd`);
      await redirects(lab, `${front}/all`, 'https://example.org/all', 301);
    });
  },
});

export const redirectFeatures: readonly Feature[] = [
  ...statusFeatures,
  pathFeature('HTTPRoutePathRedirect', 'redirect-path'),
  pathFeature('MeshHTTPRouteRedirectPath', 'mesh-redirect-path'),
  portFeature('HTTPRoutePortRedirect', 'redirect-port'),
  portFeature('MeshHTTPRouteRedirectPort', 'mesh-redirect-port'),
  schemeFeature('HTTPRouteSchemeRedirect', 'redirect-scheme'),
  schemeFeature('MeshHTTPRouteSchemeRedirect', 'mesh-redirect-scheme'),
];

// RequestAuthentications that ask nobody for a token, or that cannot check one.
import type { HttpPolicy, RequestAuthentication } from '#/model/index.ts';
import { keyOf } from '../document.ts';
import { field, items, string } from '../fields.ts';
import type { Analyzer, Report } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';
import { targetStatus } from './target-status.ts';

const asksForToken = ({ rules }: HttpPolicy): boolean =>
  rules.some(
    ({ from, when }) =>
      from.some(({ requestPrincipals }) => requestPrincipals !== undefined) ||
      when.some(({ key }) => key.startsWith('request.auth.')),
  );

/** A policy for the whole waypoint asks for what goes to one of its services as well, and the other way round. */
const overlap = (a: RequestAuthentication, b: HttpPolicy): boolean =>
  [a, b].some(({ targets }) => targets.some(({ kind }) => kind === 'waypoint' || kind === 'all-waypoints')) ||
  a.targets.some((one) => b.targets.some((other) => JSON.stringify(one) === JSON.stringify(other)));

function required(
  model: MeshModel,
  authentication: RequestAuthentication,
  gateways: readonly string[],
): boolean {
  for (const record of model.waypointRecords.values()) {
    const { resource } = record;
    if (resource.kind !== 'http-policy' || resource.dryRun) continue;
    if (!record.gateways.some((gateway) => gateways.includes(gateway))) continue;
    if (asksForToken(resource) && overlap(authentication, resource)) return true;
  }
  return false;
}

function hasKeys(jwks: string): boolean {
  try {
    return items(JSON.parse(jwks), 'keys').length > 0;
  } catch {
    return false;
  }
}

/** Problems of form are the translation's to tell; here is what can be read and gives no key. */
function keys(model: MeshModel, report: Report): void {
  for (const document of model.all('RequestAuthentication')) {
    const told = model.problems.get(keyOf(document)) ?? [];
    for (const { field: path, reason } of told)
      report(/\.jwks(?:Uri)?$/.test(path) ? 'AUR0911' : 'AUR0601', document, path, `${path}: ${reason}`);
    items(document.object, 'spec', 'jwtRules').forEach((rule, i) => {
      const at = `spec.jwtRules[${i}]`;
      if (told.some(({ field: path }) => path.startsWith(`${at}.jwks`))) return;
      const jwks = string(rule, 'jwks');
      if (jwks !== '') {
        if (!hasKeys(jwks)) report('AUR0911', document, `${at}.jwks`, `${at}.jwks: the set has no keys`);
        return;
      }
      if ((field(rule, 'jwksUri') ?? field(rule, 'jwks_uri')) !== undefined) return;
      const issuer = string(rule, 'issuer');
      if (!/^https?:\/\//.test(issuer))
        report(
          'AUR0911',
          document,
          at,
          `${at}: neither jwks nor jwksUri, and the issuer "${issuer}" is no URL where its keys could be found`,
        );
    });
  }
}

export const tokens: Analyzer = (model, report) => {
  keys(model, report);
  for (const document of model.all('RequestAuthentication')) targetStatus(model, document, report);
  for (const { resource, gateways } of model.waypointRecords.values()) {
    if (resource.kind !== 'request-authentication' || required(model, resource, gateways)) continue;
    const slash = resource.name.indexOf('/');
    const document = model.document(
      'RequestAuthentication',
      resource.name.slice(0, slash),
      resource.name.slice(slash + 1),
    );
    if (document !== undefined)
      report(
        'AUR0910',
        document,
        'spec.jwtRules',
        'no AuthorizationPolicy for the same target asks for a token',
      );
  }
};

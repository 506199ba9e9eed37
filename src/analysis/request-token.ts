// The token of a request: which rules would take it. Signatures and times are not looked at: the claims that the user
// gives are those of a token that is good.
import type { AuthenticatedToken, JwtRule, RequestAuthentication } from '#/model/index.ts';
import type { Place } from './document.ts';
import type { MeshModel } from './mesh-model.ts';

export interface AuthenticationReport {
  /** `ns/name` of the RequestAuthentication. */
  readonly authentication: string;
  readonly issuers: readonly string[];
  /** Where tokens are looked for. */
  readonly locations: readonly string[];
  readonly because: string;
  readonly place: Place;
}

export interface TokenOutcome {
  readonly authentications: readonly AuthenticationReport[];
  readonly token: AuthenticatedToken | undefined;
  readonly note: string | undefined;
  /** In the words of the answer. */
  readonly refusal: { readonly status: 401 | 403; readonly reason: string } | undefined;
}

/** As upstream: with or without http(s):// and the slash at the end, an audience is the same. */
const plainAudience = (audience: string): string => audience.replace(/^https?:\/\//, '').replace(/\/$/, '');

const texts = (value: unknown): readonly string[] =>
  typeof value === 'string'
    ? [value]
    : Array.isArray(value)
      ? (value as unknown[]).filter((one) => typeof one === 'string')
      : [];

function locationsOf({ from: { headers, params, cookies } }: JwtRule): readonly string[] {
  const found = [
    ...headers.map(({ name, prefix }) => `header ${name}${prefix === '' ? '' : ` "${prefix}"`}`),
    ...params.map((name) => `parameter ${name}`),
    ...cookies.map((name) => `cookie ${name}`),
  ];
  return found.length > 0 ? found : ['header authorization "Bearer "', 'parameter access_token'];
}

type Judged = 'accepted' | 'issuer' | 'audience';

function judge(rule: JwtRule, claims: Readonly<Record<string, unknown>>): Judged {
  if (rule.issuer !== '' && claims['iss'] !== rule.issuer) return 'issuer';
  const wanted = new Set(rule.audiences.map(plainAudience));
  if (wanted.size > 0 && !texts(claims['aud']).some((one) => wanted.has(plainAudience(one))))
    return 'audience';
  return 'accepted';
}

function acceptedToken(rule: JwtRule, claims: Readonly<Record<string, unknown>>): AuthenticatedToken {
  const own = { ...claims };
  for (const name of ['scope', 'permission', ...rule.spaceDelimitedClaims]) {
    const value = Object.hasOwn(own, name) ? own[name] : undefined;
    if (typeof value === 'string') own[name] = value.split(' ').filter((part) => part !== '');
  }
  const text = (name: string): string => texts(claims[name])[0] ?? '';
  return { issuer: text('iss'), subject: text('sub'), claims: own };
}

export function judgeToken(
  model: MeshModel,
  authentications: readonly RequestAuthentication[],
  claims: Readonly<Record<string, unknown>> | undefined,
): TokenOutcome {
  let token: AuthenticatedToken | undefined;
  let audience = false;
  const reports = authentications.map(({ name, rules }): AuthenticationReport => {
    const judged = rules.map((rule) => (claims === undefined ? undefined : judge(rule, claims)));
    const at = judged.indexOf('accepted');
    const by = rules[at];
    if (by !== undefined && claims !== undefined) token ??= acceptedToken(by, claims);
    audience ||= judged.includes('audience');
    const slash = name.indexOf('/');
    return {
      authentication: name,
      issuers: rules.map(({ issuer }) => issuer),
      locations: [...new Set(rules.flatMap(locationsOf))],
      because:
        claims === undefined
          ? 'no token is given: the request passes, and has no request principal'
          : by !== undefined
            ? `rule ${at + 1} takes the token`
            : judged.includes('audience')
              ? `no rule takes the audience ${texts(claims['aud']).join(', ') || '(none)'}`
              : `no rule is for the issuer ${texts(claims['iss'])[0] ?? '(none)'}`,
      place: model.place('RequestAuthentication', name.slice(0, slash), name.slice(slash + 1)),
    };
  });
  if (claims === undefined)
    return { authentications: reports, token: undefined, note: undefined, refusal: undefined };
  if (authentications.length === 0)
    return {
      authentications: reports,
      token: undefined,
      note: 'no RequestAuthentication applies here: nobody reads the token',
      refusal: undefined,
    };
  if (token !== undefined) return { authentications: reports, token, note: undefined, refusal: undefined };
  return {
    authentications: reports,
    token: undefined,
    note: undefined,
    refusal: audience
      ? { status: 403, reason: 'Audiences in Jwt are not allowed' }
      : { status: 401, reason: 'Jwt issuer is not configured' },
  };
}

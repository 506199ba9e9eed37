// The conditions of `when`. A key that is not known, or a value that cannot be read, is never passed over: the field
// is broken, which the compiler turns to the safe side.
import { parseCidr } from '#/kit/index.ts';
import type { HttpCondition, ServiceAccountMatch, StringMatch } from '#/model/index.ts';
import {
  anyText,
  brokenField,
  fieldsOf,
  parseMatch,
  showMatch,
  textShape,
  type Field,
  type FieldShape,
} from './field.ts';
import { rangeShape } from './field.ts';
import type { HttpView } from './http-view.ts';
import { portShape } from './operation-fields.ts';
import {
  namespaceShape,
  principalShape,
  remoteIpShape,
  requestPrincipalShape,
  serviceAccountShape,
  sourceIpShape,
  trustDomainShape,
} from './source-fields.ts';

export interface ConditionContext {
  /** Of the policy; a service account without a namespace is in it. */
  readonly namespace: string;
  readonly trustDomains: readonly string[];
}

export function conditionFields(condition: HttpCondition, context: ConditionContext): Field[] {
  const { key, values, notValues } = condition;
  const name = `when ${key}`;
  if (values.length === 0 && notValues.length === 0) return [brokenField(name, 'has no values')];
  const made = <T>(
    shape: FieldShape<T>,
    parse: (text: string) => T | undefined,
    expected: string,
  ): Field[] => {
    const bad = [...values, ...notValues].find((text) => parse(text) === undefined);
    if (bad !== undefined) return [brokenField(name, `${JSON.stringify(bad)} is not ${expected}`)];
    const all = (texts: readonly string[]): T[] => texts.map((text) => parse(text) as T);
    return fieldsOf(shape, { values: all(values), notValues: all(notValues) });
  };
  const text = (shape: FieldShape<StringMatch>): Field[] =>
    made(shape, parseMatch, 'a text, "prefix*", "*suffix" or "*"');
  const range = (shape: ReturnType<typeof rangeShape>): Field[] =>
    made(shape, parseCidr, 'an IP address or CIDR range');

  switch (key) {
    case 'source.ip':
      return range(sourceIpShape(name));
    case 'remote.ip':
      return range(remoteIpShape(name));
    case 'destination.ip':
      return range(
        rangeShape(
          name,
          (view) => view.destinationBytes,
          (view) => view.connection.destination.ip,
        ),
      );
    case 'destination.port':
      return made(portShape(name), parsePort, 'a port from 0 to 65535');
    case 'connection.sni':
      return text(textShape(name, (view) => view.connection.sni));
    case 'source.namespace':
      return text(namespaceShape(name));
    case 'source.principal':
      return text(principalShape(name, context.trustDomains));
    case 'source.trustDomain':
      return text(trustDomainShape(name, context.trustDomains));
    case 'source.serviceAccount':
      return made(
        serviceAccountShape(name),
        (value) => parseAccount(value, context.namespace),
        'a service account ("name" or "namespace/name")',
      );
    case 'request.auth.principal':
      return text(requestPrincipalShape(name));
    case 'request.auth.audiences':
      return text(claimShape(name, ['aud']));
    case 'request.auth.presenter':
      return text(claimShape(name, ['azp']));
    default:
      return bracketed(key, name, text);
  }
}

function bracketed(key: string, name: string, text: (shape: FieldShape<StringMatch>) => Field[]): Field[] {
  const names = brackets(key, 'request.headers');
  if (names !== undefined)
    return names.length === 1
      ? text(headerShape(name, (names[0] as string).toLowerCase()))
      : [brokenField(name, 'one header in brackets is needed')];
  const path = brackets(key, 'request.auth.claims');
  if (path !== undefined)
    return path.length > 0
      ? text(claimShape(name, path))
      : [brokenField(name, 'a claim in brackets is needed')];
  return [
    brokenField(
      name,
      key.startsWith('experimental.envoy.filters.') ? 'filters of Envoy do not run here' : 'unknown key',
    ),
  ];
}

const parsePort = (text: string): number | undefined =>
  /^[0-9]{1,5}$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined;

function parseAccount(text: string, ownNamespace: string): ServiceAccountMatch | undefined {
  const parts = text.split('/');
  if (parts.length > 2 || parts.some((part) => part === '')) return undefined;
  const [namespace, serviceAccount] = parts.length === 2 ? (parts as [string, string]) : [ownNamespace, text];
  return { namespace, serviceAccount };
}

/** `base[a][b]` gives [a, b]; [] if what follows the base is not that; undefined for another base. */
function brackets(key: string, base: string): readonly string[] | undefined {
  if (!key.startsWith(base)) return undefined;
  const rest = key.slice(base.length);
  if (!/^(\[[^[\]]+\])+$/.test(rest)) return [];
  return rest.slice(1, -1).split('][');
}

/** Header values are bytes, one for each character; a policy's text is Unicode. */
function asBytes(match: StringMatch): StringMatch {
  if (match.kind === 'presence') return match;
  return { ...match, value: String.fromCharCode(...new TextEncoder().encode(match.value)) };
}

/** Pseudo headers as upstream has them; `host` is the authority. An empty header is present. */
function headerShape(name: string, header: string): FieldShape<StringMatch> {
  const value = ({ request }: HttpView): string | undefined => {
    if (request === undefined) return undefined;
    switch (header) {
      case ':authority':
      case 'host':
        return request.authority;
      case ':method':
        return request.method;
      case ':scheme':
        return request.scheme;
      case ':path':
        return request.query === '' ? request.path : `${request.path}?${request.query}`;
      default:
        return request.headers.get(header);
    }
  };
  return {
    ...textShape(name, value, { httpOnly: true }),
    any(matches) {
      const test = anyText(matches.map(asBytes));
      const present = matches.some((match) => match.kind === 'presence');
      return (view) => {
        const got = value(view);
        return got !== undefined && (present || test(got));
      };
    },
  };
}

/** The claim's text, or any text of its list. Numbers, booleans and objects match nothing, as upstream. */
function claimShape(name: string, path: readonly string[]): FieldShape<StringMatch> {
  return {
    name,
    httpOnly: true,
    needsToken: true,
    any(matches) {
      const test = anyText(matches);
      return (view) => {
        const claim = claimAt(view, path);
        if (typeof claim === 'string') return test(claim);
        if (!Array.isArray(claim)) return false;
        for (const item of claim as readonly unknown[])
          if (typeof item === 'string' && test(item)) return true;
        return false;
      };
    },
    show: showMatch,
    got: (view) =>
      view.token === undefined ? '(no token)' : (JSON.stringify(claimAt(view, path)) ?? '(none)'),
  };
}

function claimAt(view: HttpView, path: readonly string[]): unknown {
  let value: unknown = view.token?.claims;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

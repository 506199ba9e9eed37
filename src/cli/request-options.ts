// The request that `aura explain` asks waypoints about, in curl's words, made canonical as a waypoint does.
import { InvalidArgumentError, type Command } from 'commander';
import type { RequestWish } from '#/analysis/index.ts';
import { canonicalAuthority, canonicalPath } from '#/http/index.ts';

interface Header {
  readonly name: string;
  readonly value: string;
}

export interface RequestFlags {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly header?: readonly Header[];
  readonly claims?: Readonly<Record<string, unknown>>;
}

const token = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/;

function method(value: string): string {
  if (!token.test(value)) throw new InvalidArgumentError('it is not a method');
  return value;
}

function path(value: string): string {
  const { reason } = canonicalPath(value);
  if (reason !== undefined) throw new InvalidArgumentError(`the waypoint answers 400: ${reason}`);
  return value;
}

function host(value: string): string {
  const { authority, reason } = canonicalAuthority(value);
  if (authority === undefined) throw new InvalidArgumentError(`the waypoint answers 400: ${reason}`);
  return authority;
}

function header(value: string, all: readonly Header[] = []): readonly Header[] {
  const colon = value.indexOf(':');
  const name = value.slice(0, colon).trim().toLowerCase();
  if (colon <= 0 || !token.test(name)) throw new InvalidArgumentError('write "NAME: VALUE"');
  return [...all, { name, value: value.slice(colon + 1).trim() }];
}

function claims(value: string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    throw new InvalidArgumentError('it is not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new InvalidArgumentError('it is not a JSON object such as {"iss":"https://issuer.example"}');
  return parsed as Readonly<Record<string, unknown>>;
}

export function requestOptions(command: Command): Command {
  return command
    .option('--method <name>', 'of the request that waypoints are asked about (GET)', method)
    .option('--path <path>', 'with its query, if it has one (/)', path)
    .option('--host <host[:port]>', 'Host or :authority (the name of the service)', host)
    .option('-H, --header <name: value>', 'a header of the request (repeatable)', header)
    .option('--claims <json>', 'claims of a good token of the request', claims);
}

/** Undefined if nothing is said of a request. */
export function requestOf(flags: RequestFlags): RequestWish | undefined {
  const { header: headers, claims: ofToken } = flags;
  const target = flags.path === undefined ? undefined : canonicalPath(flags.path);
  // As curl has it: the header wins over the address.
  const named = headers?.find(({ name }) => name === 'host')?.value;
  const authority = flags.host ?? (named === undefined ? undefined : host(named));
  const wish: RequestWish = {
    ...(flags.method === undefined ? {} : { method: flags.method }),
    ...(target?.path === undefined ? {} : { path: target.path }),
    ...(target?.query === undefined ? {} : { query: target.query }),
    ...(authority === undefined ? {} : { host: authority }),
    ...(headers === undefined ? {} : { headers: headers.filter(({ name }) => name !== 'host') }),
    ...(ofToken === undefined ? {} : { claims: ofToken }),
  };
  return Object.keys(wish).length === 0 ? undefined : wish;
}

// Who calls: by client certificate or by bearer token. Nobody is anonymous.
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { ApiError, unauthorized } from '../api-error.ts';
import type { User } from '../serving/call.ts';
import type { Tokens } from './tokens.ts';

const list = (value: string | string[] | undefined): string[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value];

/** The certificate of a connection does not change, so it is read once. */
const ofSocket = new WeakMap<object, User | null>();

function certificateUser(socket: TLSSocket): User | undefined {
  const known = ofSocket.get(socket);
  if (known !== undefined) return known ?? undefined;
  let user: User | null = null;
  // Only a certificate that our own authority has signed counts.
  if (socket.authorized) {
    const subject = socket.getPeerCertificate().subject as
      | { CN?: string | string[]; O?: string | string[] }
      | undefined;
    const name = list(subject?.CN)[0];
    if (name !== undefined && name !== '')
      user = { name, groups: [...list(subject?.O), 'system:authenticated'] };
  }
  ofSocket.set(socket, user);
  return user ?? undefined;
}

/** Throws 401 for no or a bad credential, 403 for an impersonation that is not allowed. */
export function authenticate(request: IncomingMessage, tokens: Tokens): User {
  const header = request.headers.authorization;
  let user: User | undefined;
  if (header !== undefined) {
    const match = /^Bearer +(\S+)$/i.exec(header);
    const checked = match === null ? undefined : tokens.check(match[1] as string, []);
    if (checked === undefined || 'error' in checked) throw unauthorized();
    user = checked.user;
  } else user = certificateUser(request.socket as TLSSocket);
  if (user === undefined) throw unauthorized();
  return impersonated(request, user);
}

function impersonated(request: IncomingMessage, user: User): User {
  const name = request.headers['impersonate-user'];
  const groups = request.headersDistinct['impersonate-group'];
  if (name === undefined && groups === undefined) return user;
  if (!user.groups.includes('system:masters'))
    throw new ApiError(
      403,
      'Forbidden',
      `users "${String(name)}" is forbidden: User "${user.name}" cannot impersonate resource "users" in API group "" at the cluster scope`,
    );
  if (typeof name !== 'string' || name === '')
    throw new ApiError(400, 'BadRequest', 'requested groups to impersonate without a user');
  const extra: Record<string, string[]> = {};
  for (const [key, values] of Object.entries(request.headersDistinct))
    if (key.startsWith('impersonate-extra-') && values !== undefined) {
      const field = key.slice('impersonate-extra-'.length);
      extra[field.includes('%') ? decodeURIComponent(field) : field] = values;
    }
  return {
    name,
    groups: [...new Set([...(groups ?? []), 'system:authenticated'])],
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

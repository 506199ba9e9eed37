// From a request's path to what is to be done.
import { badRequest, methodNotAllowed, noSuchPath } from '../api-error.ts';
import type { Kind } from '../kinds/kind.ts';
import type { Registry } from '../kinds/registry.ts';

export interface Route {
  readonly kind: Kind;
  /** Undefined for lists over all namespaces; empty for kinds without namespaces. */
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string;
  /** What follows the subresource, for `proxy`. */
  readonly rest: readonly string[];
  /** The old form of a watch: /api/v1/watch/... */
  readonly watch: boolean;
}

/** The parts of a path, decoded. Throws 400 for what cannot be decoded. */
export function splitPath(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  try {
    return parts.map((part) => (part.includes('%') ? decodeURIComponent(part) : part));
  } catch {
    throw badRequest(`the path ${path} is not valid`);
  }
}

/** The route of /api/v1/... and /apis/GROUP/VERSION/...; throws 404. */
export function routeOf(registry: Registry, parts: readonly string[]): Route {
  const core = parts[0] === 'api';
  const group = core ? '' : (parts[1] ?? '');
  const version = (core ? parts[1] : parts[2]) ?? '';
  let rest = parts.slice(core ? 2 : 3);
  let watch = false;
  if (rest[0] === 'watch') {
    watch = true;
    rest = rest.slice(1);
  }
  let namespace: string | undefined;
  // `namespaces/NAME` is a Namespace, `namespaces/NAME/PLURAL` is in it. The Namespace's own subresources are few.
  if (
    rest[0] === 'namespaces' &&
    rest.length >= 3 &&
    !(core && rest.length === 3 && (rest[2] === 'status' || rest[2] === 'finalize'))
  ) {
    namespace = rest[1];
    rest = rest.slice(2);
  }
  const [plural = '', name, subresource = '', ...more] = rest;
  const kind = registry.get(group, version, plural);
  if (kind === undefined) throw noSuchPath();
  if (!kind.namespaced && namespace !== undefined) throw noSuchPath();
  if (kind.namespaced && namespace === undefined && name !== undefined) throw noSuchPath();
  if (subresource !== '' && !kind.subresources.has(subresource)) throw noSuchPath();
  if (more.length > 0 && subresource !== 'proxy') throw noSuchPath();
  return {
    kind,
    namespace: kind.namespaced ? namespace : name === undefined ? undefined : '',
    name,
    subresource,
    rest: more,
    watch,
  };
}

export function requireName(route: Route): string {
  if (route.name === undefined) throw methodNotAllowed();
  return route.name;
}

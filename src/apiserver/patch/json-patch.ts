// JSON Patch (RFC 6902) on a copy of the object.
import { ApiError, badRequest } from '../api-error.ts';
import { clone, equal, isObject, setField, type Json, type JsonObject } from '../json.ts';

/** Each may copy a part of the object, so a long list could grow it without end. */
const maxOperations = 10_000;

const unprocessable = (message: string): ApiError =>
  new ApiError(
    422,
    'Invalid',
    `the server rejected our request due to an error in our request: ${message}`,
    {},
  );

function parsePointer(pointer: unknown): string[] {
  if (typeof pointer !== 'string') throw badRequest('json patch: a path is not a string');
  if (pointer === '') return [];
  if (!pointer.startsWith('/')) throw badRequest(`json patch: the path "${pointer}" does not begin with "/"`);
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function arrayIndex(list: readonly Json[], key: string, end: number): number {
  if (!/^(0|[1-9][0-9]{0,8})$/.test(key)) throw unprocessable(`"${key}" is not an index of a list`);
  const index = Number(key);
  if (index > end) throw unprocessable(`index ${key} is out of range of a list of ${list.length}`);
  return index;
}

function lookUp(root: Json, path: readonly string[]): Json {
  let at: Json = root;
  for (const key of path) {
    if (Array.isArray(at)) at = at[arrayIndex(at, key, at.length - 1)] as Json;
    else if (isObject(at) && Object.hasOwn(at, key)) at = at[key] as Json;
    else throw unprocessable(`the path "/${path.join('/')}" does not exist`);
  }
  return at;
}

/** Gives the new root: the path may be the whole document. */
function put(root: Json, path: readonly string[], value: Json, insert: boolean): Json {
  if (path.length === 0) return value;
  const parent = lookUp(root, path.slice(0, -1));
  const key = path[path.length - 1] as string;
  if (Array.isArray(parent)) {
    if (insert) parent.splice(key === '-' ? parent.length : arrayIndex(parent, key, parent.length), 0, value);
    else parent[arrayIndex(parent, key, parent.length - 1)] = value;
  } else if (isObject(parent)) {
    if (!insert && !Object.hasOwn(parent, key))
      throw unprocessable(`the path "/${path.join('/')}" does not exist`);
    setField(parent, key, value);
  } else throw unprocessable(`the path "/${path.join('/')}" does not exist`);
  return root;
}

function remove(root: Json, path: readonly string[]): Json {
  if (path.length === 0) return null;
  const parent = lookUp(root, path.slice(0, -1));
  const key = path[path.length - 1] as string;
  if (Array.isArray(parent)) parent.splice(arrayIndex(parent, key, parent.length - 1), 1);
  else if (isObject(parent) && Object.hasOwn(parent, key)) delete parent[key];
  else throw unprocessable(`the path "/${path.join('/')}" does not exist`);
  return root;
}

/** Throws 400 for a patch that is none, 422 for one that does not fit the object. */
export function applyJsonPatch(target: JsonObject, patch: Json): JsonObject {
  if (!Array.isArray(patch)) throw badRequest('json patch: the body is not a list of operations');
  if (patch.length > maxOperations)
    throw badRequest(`json patch: ${patch.length} operations are more than ${maxOperations}`);
  let root: Json = clone(target);
  for (const operation of patch) {
    if (!isObject(operation)) throw badRequest('json patch: an operation is not an object');
    const path = parsePointer(operation['path']);
    const value = (): Json => {
      if (operation['value'] === undefined)
        throw badRequest(
          `json patch: "${String(operation['op'])}" of "${String(operation['path'])}" has no value`,
        );
      return clone(operation['value']);
    };
    switch (operation['op']) {
      case 'add':
        root = put(root, path, value(), true);
        break;
      case 'replace':
        root = put(root, path, value(), false);
        break;
      case 'remove':
        root = remove(root, path);
        break;
      case 'copy':
        root = put(root, path, clone(lookUp(root, parsePointer(operation['from']))), true);
        break;
      case 'move': {
        const from = parsePointer(operation['from']);
        const moved = lookUp(root, from);
        root = put(remove(root, from), path, moved, true);
        break;
      }
      case 'test': {
        const wanted = operation['value'] ?? null;
        let found: Json;
        try {
          found = lookUp(root, path);
        } catch {
          found = null;
        }
        if (!equal(found, wanted)) throw unprocessable(`testing value ${String(operation['path'])} failed`);
        break;
      }
      default:
        throw badRequest(`json patch: there is no operation "${String(operation['op'])}"`);
    }
  }
  if (!isObject(root)) throw badRequest('json patch: the result is not an object');
  return root;
}

// JSON Merge Patch (RFC 7396).
import { clone, isObject, setField, type Json, type JsonObject } from '../json.ts';

/** Gives a new object; `target` is not changed. */
export function applyMergePatch(target: Json | undefined, patch: JsonObject): JsonObject {
  const out: JsonObject = isObject(target) ? { ...target } : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key] as Json;
    if (value === null) delete out[key];
    else if (isObject(value))
      setField(out, key, applyMergePatch(Object.hasOwn(out, key) ? out[key] : undefined, value));
    else setField(out, key, clone(value));
  }
  return out;
}

// @peculiar/x509's injector wants the Reflect metadata functions to be there before it loads; a map is enough.
const store = new WeakMap<object, Map<unknown, unknown>>();
const entries = (target: object): Map<unknown, unknown> => {
  let map = store.get(target);
  if (map === undefined) store.set(target, (map = new Map()));
  return map;
};
const functions: Readonly<Record<string, unknown>> = {
  defineMetadata: (key: unknown, value: unknown, target: object) => entries(target).set(key, value),
  getOwnMetadata: (key: unknown, target: object) => entries(target).get(key),
  getMetadata(key: unknown, target: object) {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null)
      if (entries(at).has(key)) return entries(at).get(key);
    return undefined;
  },
  hasOwnMetadata: (key: unknown, target: object) => entries(target).has(key),
};
for (const [name, value] of Object.entries(functions))
  if (!(name in Reflect)) Object.defineProperty(Reflect, name, { value, configurable: true, writable: true });

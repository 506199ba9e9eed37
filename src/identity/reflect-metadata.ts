// @peculiar/x509 registers its parts with an injector that insists on the Reflect metadata proposal. It reads none of
// the data that a compiler would emit, so a map per object is enough, and no package that patches globals is needed.
const store = new WeakMap<object, Map<unknown, unknown>>();

const polyfill = {
  defineMetadata(key: unknown, value: unknown, target: object): void {
    const map = store.get(target) ?? new Map<unknown, unknown>();
    store.set(target, map.set(key, value));
  },
  getOwnMetadata: (key: unknown, target: object): unknown => store.get(target)?.get(key),
  hasOwnMetadata: (key: unknown, target: object): boolean => store.get(target)?.has(key) ?? false,
  getMetadata(key: unknown, target: object): unknown {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null)
      if (store.get(at)?.has(key) === true) return store.get(at)?.get(key);
    return undefined;
  },
};

for (const [name, value] of Object.entries(polyfill))
  if (!(name in Reflect)) Object.defineProperty(Reflect, name, { value, configurable: true, writable: true });

// The first code in an extension's sandbox. Its text is run there, so it refers to nothing outside of itself: it takes
// away what a filter does not need, and stands between the module and the thread. Only texts and numbers go in and out;
// an object of the thread's own realm in the module's hands would be a way out of the sandbox.
import type { limits as protocolLimits, PhaseInput } from './protocol.ts';

export interface Sandboxed {
  /** Which phases the module has, as bits; or why it is no module of an extension. */
  bind(namespace: object): number | string;
  /** The answer as JSON; undefined: it is settled later. Never throws. */
  dispatch(id: number, phase: number, input: string): string | undefined;
}

type Edit = 'set' | 'add' | 'delete';

export function prelude(
  configText: string,
  limitsText: string,
  phasesText: string,
  settle: (id: number, answer: string) => void,
): Sandboxed {
  const limits = JSON.parse(limitsText) as typeof protocolLimits;
  const phases = JSON.parse(phasesText) as readonly string[];

  // Memory of buffers is not counted against the thread's limit, and compiled WebAssembly is not ours to bound.
  const gone =
    'ArrayBuffer SharedArrayBuffer DataView Atomics WebAssembly console WeakRef FinalizationRegistry ' +
    'Int8Array Uint8Array Uint8ClampedArray Int16Array Uint16Array Int32Array Uint32Array ' +
    'BigInt64Array BigUint64Array Float16Array Float32Array Float64Array';
  for (const name of gone.split(' ')) Reflect.deleteProperty(globalThis, name);

  // One huge array would end the process instead of this thread: V8 asks nobody before a single allocation.
  const refuseHuge = (length: unknown): void => {
    if (Number(length) > limits.array) throw new RangeError(`more than ${limits.array} elements at once`);
  };
  const guarded = [
    'fill',
    'concat',
    'slice',
    'splice',
    'toSorted',
    'toReversed',
    'toSpliced',
    'with',
  ] as const;
  for (const name of guarded) {
    const method = Array.prototype[name] as (...values: unknown[]) => unknown;
    Object.defineProperty(Array.prototype, name, {
      configurable: true,
      writable: true,
      value(this: unknown[], ...values: unknown[]) {
        refuseHuge(this.length);
        return Reflect.apply(method, this, values);
      },
    });
  }
  const arrayFrom = Array.from.bind(Array) as (...values: unknown[]) => unknown;
  Object.defineProperty(Array, 'from', {
    configurable: true,
    writable: true,
    value(source: { length?: unknown }, ...more: unknown[]) {
      refuseHuge(source?.length);
      return arrayFrom(source, ...more);
    },
  });

  const { parse, stringify } = JSON;
  const { isInteger } = Number;
  const { isArray } = Array;
  const { entries, freeze } = Object;
  const asText = String;

  const frozen = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    for (const [, part] of entries(value)) frozen(part);
    return freeze(value);
  };
  const config = frozen(parse(configText) as unknown);

  class Headers {
    readonly #flat: string[];
    readonly #edits: string[];
    constructor(flat: string[], edits: string[]) {
      this.#flat = flat;
      this.#edits = edits;
    }
    #edit(operation: Edit, name: unknown, value: unknown): string {
      const key = asText(name).toLowerCase();
      this.#edits.push(operation, key, asText(value));
      return key;
    }
    all(name: string): string[] {
      const key = asText(name).toLowerCase();
      const values: string[] = [];
      for (let i = 0; i < this.#flat.length; i += 2)
        if (this.#flat[i] === key) values.push(this.#flat[i + 1] as string);
      return values;
    }
    get(name: string): string | undefined {
      const values = this.all(name);
      return values.length === 0
        ? undefined
        : values.join(asText(name).toLowerCase() === 'cookie' ? '; ' : ',');
    }
    has(name: string): boolean {
      return this.all(name).length > 0;
    }
    #drop(key: string): void {
      for (let i = this.#flat.length - 2; i >= 0; i -= 2) if (this.#flat[i] === key) this.#flat.splice(i, 2);
    }
    set(name: string, value: string): void {
      const key = this.#edit('set', name, value);
      this.#drop(key);
      this.#flat.push(key, asText(value));
    }
    add(name: string, value: string): void {
      this.#flat.push(this.#edit('add', name, value), asText(value));
    }
    delete(name: string): void {
      this.#drop(this.#edit('delete', name, ''));
    }
    *[Symbol.iterator](): Iterator<[string, string]> {
      for (let i = 0; i < this.#flat.length; i += 2)
        yield [this.#flat[i] as string, this.#flat[i + 1] as string];
    }
  }

  /** One call: what it was given, and what the module wants changed. */
  interface Call {
    readonly id: number;
    readonly phase: number;
    readonly edits: string[];
    readonly lines: [string, string][];
    readonly state: unknown;
    readonly request: { path: string };
    readonly path: string;
  }

  const levels = new Set(['debug', 'info', 'warn', 'error']);
  const handlers: (((...values: unknown[]) => unknown) | undefined)[] = [];

  const messageOf = (error: unknown): string => {
    try {
      const { name, message } = error as { name?: unknown; message?: unknown };
      return (typeof message === 'string' ? `${asText(name)}: ${message}` : asText(error)).slice(
        0,
        limits.logLine,
      );
    } catch {
      return 'something that cannot be put in words';
    }
  };

  const replyOf = (status: unknown, headers: unknown, body: unknown): unknown[] => {
    if (!isInteger(status)) throw new TypeError('a status that is no whole number');
    const flat: string[] = [];
    if (headers !== undefined && headers !== null) {
      if (typeof headers !== 'object' || isArray(headers)) throw new TypeError('headers that are no object');
      for (const [name, value] of entries(headers)) flat.push(name.toLowerCase(), asText(value));
    }
    if (body !== undefined && body !== null && typeof body !== 'string')
      throw new TypeError('a body that is no text');
    return [status, flat, body ?? ''];
  };

  const finish = (call: Call, result: unknown): string => {
    const { edits, lines, state, request, phase, path } = call;
    const answer: Record<string, unknown> = {};
    const name = phases[phase];
    if (result !== undefined && result !== null && phase !== 3) {
      if (typeof result !== 'object' || isArray(result))
        throw new TypeError(`${name} returned ${isArray(result) ? 'an array' : `a ${typeof result}`}`);
      const { status, headers, body } = result as Record<string, unknown>;
      if (status !== undefined) answer['r'] = replyOf(status, headers, body);
      else if (phase === 1 && typeof body === 'string') answer['b'] = body;
      else throw new TypeError(`${name} returned an object that is no answer: it has no status`);
    }
    if (edits.length > 0) answer['e'] = edits;
    if (phase === 0 && request.path !== path) answer['p'] = asText(request.path);
    if (lines.length > 0) answer['l'] = lines;
    if (phase !== 3) {
      const kept = stringify(state);
      if (kept !== '{}' && kept !== undefined) {
        if (kept.length > limits.state)
          throw new TypeError(`a state of ${kept.length} characters; at most ${limits.state}`);
        answer['st'] = state;
      }
    }
    const text = stringify(answer);
    if (text.length > limits.answer)
      throw new RangeError(`an answer of ${text.length} characters; at most ${limits.answer}`);
    return text;
  };

  const failure = (call: Call | undefined, error: unknown): string =>
    stringify({ x: messageOf(error), l: call?.lines });

  const finishSafely = (call: Call, result: unknown): string => {
    try {
      return finish(call, result);
    } catch (error) {
      return failure(call, error);
    }
  };

  const settleSafely = (id: number, answer: string): void => {
    try {
      settle(id, answer);
    } catch {
      // The thread's own error must not get into the module's hands.
    }
  };

  const argumentsOf = (call: Call, input: PhaseInput, headers: Headers): unknown[] => {
    const context = {
      config,
      state: call.state,
      identity: input.i,
      source: { ip: input.ip, port: input.port },
      claims: input.c,
      log: (message: unknown, level: unknown = 'info'): void => {
        if (call.lines.length < limits.logLines)
          call.lines.push([
            levels.has(level as string) ? (level as string) : 'info',
            asText(message).slice(0, limits.logLine),
          ]);
      },
    };
    switch (call.phase) {
      case 0:
        return [call.request, context];
      case 1:
        return [{ text: input.body, complete: input.complete }, context];
      case 2:
        return [{ status: input.status, headers }, context, call.request];
      default:
        return [{ method: input.m, authority: input.a, path: input.p, ...input.r }, context];
    }
  };

  return {
    bind(namespace) {
      const { default: module } = namespace as { default?: Record<string, unknown> };
      if (typeof module !== 'object' || module === null)
        return `its default export is ${module === null ? 'null' : `of type ${typeof module}`}; it must be an object with phases`;
      let bits = 0;
      for (const [number, name] of phases.entries()) {
        const handler = module[name];
        if (handler === undefined) continue;
        if (typeof handler !== 'function')
          return `${name} is of type ${typeof handler}; it must be a function`;
        bits |= 1 << number;
        handlers[number] = (...values) => Reflect.apply(handler, module, values) as unknown;
      }
      return bits === 0 ? `its default export has none of ${phases.join(', ')}` : bits;
    },

    dispatch(id, phase, text) {
      let call: Call | undefined;
      try {
        const handler = handlers[phase];
        if (handler === undefined) return '{}';
        const input = parse(text) as PhaseInput & { h?: string[] };
        const edits: string[] = [];
        const headers = new Headers(input.h ?? [], edits);
        const made: Call = {
          id,
          phase,
          edits,
          lines: [],
          state: input.st ?? {},
          path: input.p,
          request: Object.assign(
            { method: input.m, scheme: input.s, authority: input.a, path: input.p },
            phase === 0 ? { headers } : undefined,
          ),
        };
        call = made;
        const result = handler(...argumentsOf(made, input, headers));
        if (typeof result === 'object' && result !== null) {
          const { then } = result as { then?: unknown };
          if (typeof then === 'function') {
            let open = true;
            const once = (answer: () => string): void => {
              if (!open) return;
              open = false;
              settleSafely(id, answer());
            };
            Reflect.apply(then, result, [
              (value: unknown) => once(() => finishSafely(made, value)),
              (error: unknown) => once(() => failure(made, error)),
            ]);
            return undefined;
          }
        }
        return finish(made, result);
      } catch (error) {
        return failure(call, error);
      }
    },
  };
}

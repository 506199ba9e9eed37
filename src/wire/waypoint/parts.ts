// Pieces that the schemas of several nouns share. Fields that are not known are passed over, so that a newer control
// plane can speak to an older waypoint.
import * as v from 'valibot';
import { parseCidr, type Cidr } from '#/kit/index.ts';

/**
 * Compiles only if the schema gives exactly the noun: the same fields, the same optional ones. A field that is added
 * to the model and forgotten here is an error of types.
 */
export const exactly =
  <Noun>() =>
  <Schema extends v.GenericSchema<unknown, Noun>>(
    schema: Same<Plain<Noun>, Plain<v.InferOutput<Schema>>> extends true ? Schema : never,
  ): v.GenericSchema<unknown, Noun> =>
    schema;

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

type Plain<T> = T extends string | number | boolean | Uint8Array | undefined
  ? T
  : T extends readonly (infer Item)[]
    ? Plain<Item>[]
    : { -readonly [K in keyof T]-?: Plain<Exclude<T[K], undefined>> };

export const optional = v.exactOptional;
export const text = v.string();
export const texts = v.array(text);
export const flag = v.boolean();
/** A whole number from 0. */
export const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
export const integer = v.pipe(v.number(), v.safeInteger());
/** Milliseconds, seconds or percent: from 0, maybe with a fraction. */
export const amount = v.pipe(v.number(), v.finite(), v.minValue(0));
export const fraction = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
export const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535));
export const statusCode = v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(999));
export const textMap = v.record(text, text);

/** `10.0.0.0/8` as a range. */
export const cidr = v.pipe(
  text,
  v.rawTransform<string, Cidr>(({ dataset, addIssue, NEVER }) => {
    const range = parseCidr(dataset.value);
    if (range !== undefined) return range;
    addIssue({ message: 'not an IP address or CIDR range' });
    return NEVER;
  }),
);

export const target = v.variant('kind', [
  v.object({ kind: v.literal('service'), service: text }),
  v.object({ kind: v.literal('workload'), uid: text }),
  v.object({ kind: v.literal('waypoint'), gateway: text }),
  v.object({ kind: v.literal('all-waypoints') }),
  v.object({ kind: v.literal('namespace'), namespace: text }),
  v.object({ kind: v.literal('mesh') }),
]);

/** The field of every noun that is attached to something. */
export const attached = { targets: v.array(target) };

export const headerValue = v.object({ name: text, value: text });
export const providerAddress = v.object({ hostname: text, port });

export const textMatch = v.variant('kind', [
  v.object({ kind: v.picklist(['exact', 'prefix', 'suffix']), value: text }),
  v.object({ kind: v.literal('regex'), value: text }),
  v.object({ kind: v.literal('presence') }),
]);

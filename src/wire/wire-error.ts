// The one error of decoding, and the small pieces every decoder is made of. Decoding is strict: what cannot
// be understood in full is refused by name, because a rule or an address that is dropped in silence lets
// traffic pass that should not.

/** Bytes that are not what they should be. `message` is `resource: field: reason`, without the empty parts. */
export class WireError extends Error {
  /** The resource's xDS name; empty when the bytes do not even say that. */
  readonly resource: string;
  /** The path of the field in the message, such as `rules[0].clauses[1].matches[0].sourceIps[2]`. */
  readonly field: string;
  readonly reason: string;

  constructor(resource: string, field: string, reason: string, options?: ErrorOptions) {
    super([resource, field, reason].filter((part) => part !== '').join(': '), options);
    this.name = 'WireError';
    this.resource = resource;
    this.field = field;
    this.reason = reason;
  }

  /** `field: reason`: what follows the resource's name in a NACK. */
  get detail(): string {
    return this.field === '' ? this.reason : `${this.field}: ${this.reason}`;
  }
}

/** A fault at this place; the callers add where that is. */
export function fault(field: string, reason: string): WireError {
  return new WireError('', field, reason);
}

function nested(error: unknown, field: string): unknown {
  if (!(error instanceof WireError)) return error;
  const inner = error.field;
  const path = inner === '' ? field : inner.startsWith('[') ? `${field}${inner}` : `${field}.${inner}`;
  return new WireError(error.resource, path, error.reason, { cause: error.cause });
}

/** Runs a decoder for the field `field`; its faults get that prefix. */
export function at<T>(field: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw nested(error, field);
  }
}

/** Decodes every item of a repeated field; a fault names the index. */
export function each<T, R>(field: string, items: readonly T[], decode: (item: T) => R): R[] {
  const out: R[] = [];
  let i = 0;
  try {
    for (; i < items.length; i++) out.push(decode(items[i] as T));
  } catch (error) {
    throw nested(error, `${field}[${i}]`);
  }
  return out;
}

/** Runs a whole decoder for one resource; its faults get the resource's name. */
export function named<T>(resource: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new WireError(resource, error.field, error.reason, { cause: error.cause });
  }
}

/** Runs the protobuf parser; anything it throws becomes a WireError. */
export function parsed<T>(what: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw new WireError('', '', `not a ${what}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** A port of the wire (uint32) as 0–65535. Upstream cuts off the upper bits; here that is a fault. */
export function port(field: string, value: number): number {
  if (value > 65535) throw fault(field, `port ${value} is greater than 65535`);
  return value;
}

// A workload's certificate as plain data, and reading certificates.
import type { Identity } from '#/model/index.ts';

/** Plain data: crosses to a worker as it is. Times are milliseconds since the epoch. */
export interface Certificate {
  readonly identity: Identity;
  /** Leaf and intermediates, without the root. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly rootsPem: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Hexadecimal, upper case. */
  readonly serial: string;
}

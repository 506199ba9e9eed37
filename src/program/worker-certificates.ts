// The certificates that a data worker holds: those of its pods' identities, asked of the main thread on first use
// and replaced by it on renewal. Private keys never leave the process.
import type { SecureContext } from 'node:tls';
import { MeshError } from '#/errors/index.ts';
import type { Certificate } from '#/identity/index.ts';
import { secureContext } from '#/identity/index.ts';
import type { Clock } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';

export interface Credentials {
  readonly certificate: Certificate;
  readonly context: SecureContext;
}

interface Waiter {
  readonly resolve: (credentials: Credentials) => void;
  readonly reject: (error: Error) => void;
}

/** How long a connection waits for the certificate of its pod. */
const waitMs = 10_000;
/** Connections that may wait for one identity. */
const waiterLimit = 1000;

export class WorkerCertificates {
  readonly #request: (identity: Identity) => void;
  readonly #clock: Clock;
  readonly #held = new Map<Identity, Credentials>();
  readonly #waiting = new Map<Identity, Waiter[]>();

  constructor(request: (identity: Identity) => void, clock: Clock) {
    this.#request = request;
    this.#clock = clock;
  }

  /** What is held and not expired. */
  peek(identity: Identity): Credentials | undefined {
    const held = this.#held.get(identity);
    return held !== undefined && held.certificate.notAfter > this.#clock.now() ? held : undefined;
  }

  /** Rejects with CERTIFICATE_UNAVAILABLE when the CA refuses, or does not answer in time. */
  get(identity: Identity): Promise<Credentials> {
    const held = this.peek(identity);
    if (held !== undefined) return Promise.resolve(held);
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(identity) ?? [];
      if (waiting.length >= waiterLimit) {
        reject(unavailable(identity, 'too many connections wait for it'));
        return;
      }
      const timer = this.#clock.after(waitMs, () => {
        const at = waiting.indexOf(waiter);
        if (at >= 0) waiting.splice(at, 1);
        if (waiting.length === 0 && this.#waiting.get(identity) === waiting) this.#waiting.delete(identity);
        reject(unavailable(identity, 'no answer from the certificate authority within 10 s'));
      });
      const waiter: Waiter = {
        resolve: (credentials) => {
          timer[Symbol.dispose]();
          resolve(credentials);
        },
        reject: (error) => {
          timer[Symbol.dispose]();
          reject(error);
        },
      };
      waiting.push(waiter);
      this.#waiting.set(identity, waiting);
      if (waiting.length === 1) this.#request(identity);
    });
  }

  /** A new or renewed certificate. */
  receive(certificate: Certificate): void {
    const credentials = { certificate, context: secureContext(certificate) };
    this.#held.set(certificate.identity, credentials);
    for (const waiter of this.#take(certificate.identity)) waiter.resolve(credentials);
  }

  fail(identity: Identity, message: string): void {
    for (const waiter of this.#take(identity)) waiter.reject(unavailable(identity, message));
  }

  /** No pod of this node has the identity any more: its key goes. */
  forget(identity: Identity): void {
    this.#held.delete(identity);
  }

  #take(identity: Identity): Waiter[] {
    const waiting = this.#waiting.get(identity) ?? [];
    this.#waiting.delete(identity);
    return waiting;
  }
}

function unavailable(identity: Identity, why: string): MeshError {
  return new MeshError('CERTIFICATE_UNAVAILABLE', `identity error: no certificate for ${identity}: ${why}`);
}

// What the API answers when it refuses: its Status object as an error.

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly causes?: readonly {
    readonly reason?: string;
    readonly message?: string;
    readonly field?: string;
  }[];
  readonly retryAfterSeconds?: number;
}

/** A refusal by the API server, or the end of a watch by it. `code` is the HTTP status. */
export class KubeError extends Error {
  readonly code: number;
  /** Machine-readable: NotFound, AlreadyExists, Conflict, Expired, Invalid, Forbidden ... */
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = 'KubeError';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** From the body of a failed request: a Status, or anything else a proxy in between may have said. */
  static fromBody(code: number, body: string, what: string): KubeError {
    try {
      const status = JSON.parse(body) as {
        kind?: string;
        reason?: string;
        message?: string;
        details?: StatusDetails;
      };
      if (status.kind === 'Status')
        return new KubeError(
          code,
          status.reason ?? 'Unknown',
          status.message ?? `${what}: HTTP ${code}`,
          status.details,
        );
    } catch {
      // Not a Status: an intermediary's own words, quoted below.
    }
    const quote = body.length > 200 ? `${body.slice(0, 200)}…` : body;
    return new KubeError(code, 'Unknown', `${what}: HTTP ${code}${quote === '' ? '' : `: ${quote.trim()}`}`);
  }
}

const hasReason = (error: unknown, code: number, reason?: string): boolean =>
  error instanceof KubeError && error.code === code && (reason === undefined || error.reason === reason);

export const isNotFound = (error: unknown): boolean => hasReason(error, 404);
export const isAlreadyExists = (error: unknown): boolean => hasReason(error, 409, 'AlreadyExists');
/** The object has changed since it was read, or another field manager owns the field. */
export const isConflict = (error: unknown): boolean => hasReason(error, 409, 'Conflict');
/** The resource version is older than the server's history: list again. */
export const isGone = (error: unknown): boolean => hasReason(error, 410);

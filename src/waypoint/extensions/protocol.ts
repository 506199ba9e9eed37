// What a data worker and the thread of an extension say to each other. Texts and numbers only: they cost least to pass
// on, and no object of one side is ever in the hands of the other.

/** The order is that of their numbers in a call, and of the bits in `ready`. */
export const phases = ['onRequest', 'onRequestBody', 'onResponse', 'onLog'] as const;
export type Phase = (typeof phases)[number];
export const phaseNumber = {
  onRequest: 0,
  onRequestBody: 1,
  onResponse: 2,
  onLog: 3,
} as const satisfies Record<Phase, number>;

export const limits = {
  /** Of an answer's text. */
  answer: 1024 * 1024,
  /** Of the state of one request, as JSON. */
  state: 16 * 1024,
  /** Lines of one call, and characters of a line. */
  logLines: 20,
  logLine: 1024,
  /** Bytes of a body that an extension sees. */
  body: 64 * 1024,
  /** Elements of an array that is made in one go. */
  array: 2 ** 24,
} as const;

export interface ThreadInit {
  readonly source: string;
  readonly language: 'typescript' | 'javascript';
  /** JSON. */
  readonly config: string;
  /** Of the module's own code at load. */
  readonly loadMs: number;
}

/** Calls of one turn: id, number of the phase, argument as JSON; and again. Plain data on a port of its own. */
export type Calls = readonly (number | string)[];

/** Ready: `1 << phaseNumber` of every phase that there is. Failed: why the module cannot be loaded. */
export type FromThread =
  | { readonly ready: number }
  /** `late`: its own code did not end in time, which may be the machine's fault. */
  | { readonly failed: string; readonly late: boolean }
  /** An answer as JSON. */
  | readonly [id: number, answer: string];

export type LogLine = readonly [level: 'debug' | 'info' | 'warn' | 'error', text: string];

/** What every phase knows. */
export interface CommonInput {
  /** Identity. */
  readonly i?: string;
  readonly ip: string;
  readonly port: number;
  /** Claims. */
  readonly c?: Readonly<Record<string, unknown>>;
  /** State, as the phase before has left it. */
  readonly st?: unknown;
  /** Method, authority, path with query. */
  readonly m: string;
  readonly a: string;
  readonly p: string;
}

export type PhaseInput = CommonInput & {
  readonly s?: string;
  /** Header fields as a flat list. */
  readonly h?: readonly string[];
  readonly status?: number;
  readonly body?: string;
  readonly complete?: boolean;
  /** Of onLog: the rest of the record. */
  readonly r?: Readonly<Record<string, unknown>>;
};

/** As the thread's own code writes it; whoever reads it does not rely on that. */
export interface RawAnswer {
  /** Edits of headers: operation, name, value. */
  readonly e?: unknown;
  /** New path with query. */
  readonly p?: unknown;
  /** New body. */
  readonly b?: unknown;
  /** Status, headers as a flat list, body. */
  readonly r?: unknown;
  readonly st?: unknown;
  /** Lines for the log. */
  readonly l?: unknown;
  /** It has thrown. */
  readonly x?: unknown;
}

// Who has asked what: for each question, the translations that must run again when its answer changes.
// Questions are texts; translations are small numbers. A question that nobody asks any more is forgotten.

export interface ReadersEvents {
  /** A question that nobody has asked before, or no longer. */
  readonly asked?: (question: string) => void;
  readonly forgotten?: (question: string) => void;
}

export class Readers {
  readonly #events: ReadersEvents;
  readonly #ids = new Map<string, number>();
  readonly #questions: string[] = [];
  /** Nearly all questions about single objects have one reader, which then needs no set. */
  readonly #readers: (number | Set<number> | undefined)[] = [];
  readonly #free: number[] = [];

  constructor(events: ReadersEvents = {}) {
    this.#events = events;
  }

  /** The number of a question, for `add` and `drop`. */
  id(question: string): number {
    const known = this.#ids.get(question);
    if (known !== undefined) return known;
    const id = this.#free.pop() ?? this.#questions.length;
    this.#ids.set(question, id);
    this.#questions[id] = question;
    this.#readers[id] = undefined;
    this.#events.asked?.(question);
    return id;
  }

  add(question: number, reader: number): void {
    const readers = this.#readers[question];
    if (readers === undefined) this.#readers[question] = reader;
    else if (typeof readers === 'number') {
      if (readers !== reader) this.#readers[question] = new Set([readers, reader]);
    } else readers.add(reader);
  }

  drop(question: number, reader: number): void {
    const readers = this.#readers[question];
    if (typeof readers === 'object') {
      readers.delete(reader);
      if (readers.size > 0) return;
    } else if (readers !== reader) return;
    const text = this.#questions[question] as string;
    this.#ids.delete(text);
    this.#events.forgotten?.(text);
    this.#questions[question] = '';
    this.#readers[question] = undefined;
    this.#free.push(question);
  }

  /** Calls back for each translation that has asked. */
  of(question: string, visit: (reader: number) => void): void {
    const id = this.#ids.get(question);
    const readers = id === undefined ? undefined : this.#readers[id];
    if (typeof readers === 'number') visit(readers);
    else if (readers !== undefined) for (const reader of readers) visit(reader);
  }

  /** How many questions are remembered. */
  get size(): number {
    return this.#ids.size;
  }
}

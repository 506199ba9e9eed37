// The facts of one kind of object, by key and by marks: names of the groups that an object belongs to, such as
// "has this label in its selector" or "is in this namespace".
import { objectKey, type ObjectFacts } from './object.ts';

export class FactsStore<F extends ObjectFacts> {
  readonly #objects = new Map<string, F>();
  readonly #groups = new Map<string, Map<string, F>>();
  #marks: (facts: F) => readonly string[];

  constructor(marks: (facts: F) => readonly string[] = () => []) {
    this.#marks = marks;
  }

  /** More marks from now on: for questions that few meshes have, so that the others need not keep the groups. */
  alsoMark(more: (facts: F) => readonly string[]): void {
    const before = this.#marks;
    this.#marks = (facts) => [...before(facts), ...more(facts)];
    for (const [key, facts] of this.#objects) for (const mark of more(facts)) this.#group(mark, key, facts);
  }

  get(key: string): F | undefined {
    return this.#objects.get(key);
  }

  /** The objects with a mark, in no order. */
  marked(mark: string): Iterable<F> {
    return this.#groups.get(mark)?.values() ?? [];
  }

  get size(): number {
    return this.#objects.size;
  }

  keys(): Iterable<string> {
    return this.#objects.keys();
  }

  values(): Iterable<F> {
    return this.#objects.values();
  }

  /** Gives the marks that the object has or had: the questions that may have another answer now. */
  set(facts: F): ReadonlySet<string> {
    const key = objectKey(facts);
    const touched = this.#unmark(key);
    this.#objects.set(key, facts);
    for (const mark of this.#marks(facts)) {
      touched.add(mark);
      this.#group(mark, key, facts);
    }
    return touched;
  }

  #group(mark: string, key: string, facts: F): void {
    const group = this.#groups.get(mark);
    if (group === undefined) this.#groups.set(mark, new Map([[key, facts]]));
    else group.set(key, facts);
  }

  delete(key: string): ReadonlySet<string> {
    const touched = this.#unmark(key);
    this.#objects.delete(key);
    return touched;
  }

  #unmark(key: string): Set<string> {
    const old = this.#objects.get(key);
    const marks = new Set(old === undefined ? [] : this.#marks(old));
    for (const mark of marks) {
      const group = this.#groups.get(mark);
      group?.delete(key);
      if (group?.size === 0) this.#groups.delete(mark);
    }
    return marks;
  }
}

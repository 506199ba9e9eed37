// Events are news, not state: they go after an hour, and the oldest go first when there are too many.
import { digText } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import { parseStored } from '../store/collection.ts';
import type { ControllerDeps } from './namespaces.ts';

const lifeMs = 3_600_000;
const limit = 20_000;

export class EventExpiry {
  readonly #deps: ControllerDeps;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => this.sweep(Date.now()), 60_000);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  sweep(now: number): void {
    const { store, registry, writer } = this.#deps;
    const collection = store.collection('events');
    const kind = registry.ofCollection('events') as Kind;
    const all = [...collection.values()].sort((a, b) => a.rv - b.rv);
    all.forEach((stored, i) => {
      const item = parseStored(stored);
      const last =
        digText(item, 'series', 'lastObservedTime') ||
        digText(item, 'lastTimestamp') ||
        digText(item, 'eventTime') ||
        (item.metadata.creationTimestamp ?? '');
      if (all.length - i > limit || now - Date.parse(last) > lifeMs) writer.remove(kind, stored);
    });
  }
}

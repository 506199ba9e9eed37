// Spans on their way to the main thread, some at a time: a message costs more than many spans.
import type { FinishedSpan } from '../tracing/index.ts';

const limit = 256;
const delayMs = 100;

export class SpanBatches {
  readonly #send: (provider: string, spans: readonly FinishedSpan[]) => void;
  #byProvider = new Map<string, FinishedSpan[]>();
  #planned = false;

  constructor(send: (provider: string, spans: readonly FinishedSpan[]) => void) {
    this.#send = send;
  }

  add(provider: string, span: FinishedSpan): void {
    let list = this.#byProvider.get(provider);
    if (list === undefined) this.#byProvider.set(provider, (list = []));
    list.push(span);
    if (list.length >= limit) this.flush();
    else if (!this.#planned) {
      this.#planned = true;
      setTimeout(() => this.flush(), delayMs);
    }
  }

  flush(): void {
    this.#planned = false;
    for (const [provider, spans] of this.#byProvider) this.#send(provider, spans);
    this.#byProvider = new Map();
  }
}

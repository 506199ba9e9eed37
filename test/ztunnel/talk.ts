// A client's connection that a test holds open: what came, and how it ended.
import type { Socket } from 'node:net';

export class Talk {
  readonly socket: Socket;
  received = '';
  /** `end` after an orderly end of the other side, else the error's code. */
  outcome: string | undefined;
  readonly #changed: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      this.received += chunk;
      this.#wake();
    });
    socket.on('end', () => {
      this.outcome ??= 'end';
      this.#wake();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.outcome ??= error.code ?? error.message;
      this.#wake();
    });
  }

  #wake(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }

  /** Waits until `test` holds; an error after `ms` says what there was instead. */
  async until(test: () => boolean, ms = 5000): Promise<void> {
    const deadline = Date.now() + ms;
    while (!test()) {
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(
          `never came to pass; outcome ${this.outcome}, received ${this.received.slice(0, 200)}`,
        );
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#changed.push(resolve);
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  /** Sends a text and waits for its echo. */
  async echo(text: string): Promise<void> {
    const from = this.received.length;
    this.socket.write(text);
    await this.until(() => this.received.includes(text, from) || this.outcome !== undefined);
    if (!this.received.includes(text, from)) throw new Error(`ended with ${this.outcome} instead of an echo`);
  }

  /** How the other side ends. */
  async end(ms?: number): Promise<string> {
    await this.until(() => this.outcome !== undefined, ms);
    return this.outcome as string;
  }
}

// A filter of the user's own: asks its thread about the parts of a request, and does what the answers say.
import type { ResponseHead } from '#/http/index.ts';
import type { Extension, ExtensionPhase } from '#/model/index.ts';
import {
  applyEdits,
  extensionLimits,
  type ExtensionAnswer,
  type ExtensionHost,
  type ExtensionHosts,
  type PhaseInput,
} from '../../extensions/index.ts';
import type {
  FilteredRequest,
  FilterOutcome,
  Reply,
  RequestEnd,
  RequestFilter,
} from '../requests/request-filter.ts';

const failure: Reply = { status: 500, body: '', details: 'extension_failed' };

export class ExtensionFilter implements RequestFilter {
  readonly name = 'extension';
  readonly #host: ExtensionHost;
  readonly #skips: boolean;

  constructor(host: ExtensionHost, { onFailure }: Pick<Extension, 'onFailure'>) {
    this.#host = host;
    this.#skips = onFailure === 'skip';
  }

  apply(request: FilteredRequest): FilterOutcome {
    new ExtendedRequest(this.#host, this.#skips, request).begin();
    return 'wait';
  }
}

/** In their order: by priority, the higher first. */
export const extensionFilters = (
  hosts: ExtensionHosts,
  extensions: readonly Extension[],
  ...phases: readonly ExtensionPhase[]
): ExtensionFilter[] =>
  phases.flatMap((phase) =>
    extensions
      .filter((one) => one.phase === phase)
      .map((extension) => new ExtensionFilter(hosts.of(extension), extension)),
  );

/** One request, and what the extension keeps of it from phase to phase. */
class ExtendedRequest {
  readonly #host: ExtensionHost;
  readonly #skips: boolean;
  readonly #request: FilteredRequest;
  #state: unknown;

  constructor(host: ExtensionHost, skips: boolean, request: FilteredRequest) {
    this.#host = host;
    this.#skips = skips;
    this.#request = request;
  }

  begin(): void {
    const host = this.#host;
    host.enter();
    this.#request.onOver((end) => {
      this.#log(end);
      host.leave();
    });
    if (!host.has('onRequest')) {
      this.#askBody();
      return;
    }
    const { head } = this.#request;
    const input = { ...this.#input(), s: head.scheme, h: head.headers.flat };
    host.call('onRequest', input, (result) => {
      if (this.#request.over) return;
      if (result.failure !== undefined) {
        this.#failed();
        return;
      }
      const { headers } = head;
      applyEdits(headers, result.edits);
      if (result.target !== undefined) this.#request.setPath(result.target.path, result.target.query);
      if (!this.#replied(result)) this.#askBody();
    });
  }

  /** What every phase is told. */
  #input(): PhaseInput {
    const { head, subject } = this.#request;
    const { identity, source } = subject.connection;
    return {
      m: head.method,
      a: head.authority,
      p: head.query === undefined ? head.path : `${head.path}?${head.query}`,
      ip: source.ip,
      port: source.port,
      ...(identity === undefined ? {} : { i: identity }),
      ...(subject.token === undefined ? {} : { c: subject.token.claims }),
      ...(this.#state === undefined ? {} : { st: this.#state }),
    };
  }

  /** True if the extension answers instead of the destination. */
  #replied({ reply, state }: ExtensionAnswer): boolean {
    this.#state = state;
    if (reply === undefined) return false;
    this.#request.reply({ ...reply, details: 'extension_reply' });
    return true;
  }

  #askBody(): void {
    if (!this.#host.has('onRequestBody') || !this.#request.hasBody) {
      this.#proceed();
      return;
    }
    this.#request.collectBody(extensionLimits.body, (body, complete) => {
      const input = { ...this.#input(), body: body.toString('utf8'), complete };
      this.#host.call('onRequestBody', input, (result) => {
        if (this.#request.over) return;
        const impossible = result.failure === undefined && result.body !== undefined && !complete;
        if (result.failure !== undefined || impossible) {
          this.#failed();
          return;
        }
        if (result.body !== undefined) this.#request.replaceBody(result.body);
        if (!this.#replied(result)) this.#proceed();
      });
    });
  }

  #proceed(): void {
    if (this.#host.has('onResponse'))
      this.#request.tapResponse({ head: (head, _ended, resume) => this.#askResponse(head, resume) });
    this.#request.proceed();
  }

  #askResponse(head: ResponseHead, resume: (head: ResponseHead) => void): void {
    const input = { ...this.#input(), status: head.status, h: head.headers.flat };
    this.#host.call('onResponse', input, (result) => {
      if (this.#request.over) return;
      if (result.failure !== undefined) {
        if (this.#skips) {
          this.#host.counters.skipped++;
          resume(head);
        } else this.#request.fail(failure);
        return;
      }
      applyEdits(head.headers, result.edits);
      if (!this.#replied(result)) resume(head);
    });
  }

  /** Before the request was sent on. Without it means: without all of it. */
  #failed(): void {
    if (!this.#skips) {
      this.#request.reply(failure);
      return;
    }
    this.#host.counters.skipped++;
    this.#request.proceed();
  }

  #log({ status, details, flags, bytesReceived, bytesSent, attempts }: RequestEnd): void {
    if (!this.#host.known || !this.#host.has('onLog')) return;
    const record = { status, details, flags, bytesReceived, bytesSent, attempts };
    this.#host.call('onLog', { ...this.#input(), r: record }, () => {});
  }
}

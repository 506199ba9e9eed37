// External processing of a TrafficPolicy: a service sees, and may change, the parts of a request and of its response.
import { canonicalPath, HeaderMap, type RequestHead, type ResponseHead } from '#/http/index.ts';
import type { Logger } from '#/kit/index.ts';
import type { ExternalProcessing } from '#/model/index.ts';
import {
  applyHeaderEdits,
  type ExternalProcessor,
  type Processing,
  type ProcessingOutcome,
} from '../../external/index.ts';
import type { FilteredRequest, FilterOutcome, Reply, RequestFilter } from '../requests/request-filter.ts';
import type { ResponseTap } from '../requests/response-relay.ts';

/** Of a body that is shown as a whole, as Envoy's default for buffers. */
const maxBufferedBytes = 1024 * 1024;

type Continued = Extract<ProcessingOutcome, { kind: 'continue' }>;

export class ProcessingFilter implements RequestFilter {
  readonly name = 'external-processing';
  readonly #config: ExternalProcessing;
  readonly #processor: ExternalProcessor;
  readonly #log: Logger;

  constructor(config: ExternalProcessing, processor: ExternalProcessor, log: Logger) {
    this.#config = config;
    this.#processor = processor;
    this.#log = log;
  }

  apply(request: FilteredRequest): FilterOutcome {
    new ProcessedRequest(this.#config, this.#processor.begin(this.#config), request, this.#log).begin();
    return 'wait';
  }
}

class ProcessedRequest {
  readonly #config: ExternalProcessing;
  readonly #processing: Processing;
  readonly #request: FilteredRequest;
  readonly #log: Logger;

  constructor(config: ExternalProcessing, processing: Processing, request: FilteredRequest, log: Logger) {
    this.#config = config;
    this.#processing = processing;
    this.#request = request;
    this.#log = log;
    request.onOver(() => processing.close());
  }

  /** Goes on with what the service says, or ends the request. */
  #when(outcome: Promise<ProcessingOutcome>, go: (outcome: Continued) => void): void {
    void outcome.then((known) => {
      if (this.#request.over) return;
      if (known.kind === 'continue') go(known);
      else if (known.kind === 'respond')
        this.#request.fail({
          status: known.status,
          headers: known.headers,
          body: known.body.toString('utf8'),
          details: known.details,
          ...(known.grpcStatus === undefined ? {} : { grpcStatus: known.grpcStatus }),
        });
      else this.#refuse(known.status, known.error);
    });
  }

  #refuse(status: number, error: string): void {
    this.#log.warn('a request is refused', { error });
    const reply: Reply = { status, body: '', details: 'ext_proc_error' };
    this.#request.fail(reply);
  }

  begin(): void {
    const { head, hasBody } = this.#request;
    if (!this.#config.requestHeaders) {
      this.#requestBody();
      return;
    }
    const headers = requestHeaders(head);
    this.#when(this.#processing.headers('request', headers, !hasBody), (outcome) => {
      applyHeaderEdits(head.headers, outcome.headers, outcome.removeHeaders);
      if (outcome.path !== undefined) {
        const { path, query, reason } = canonicalPath(outcome.path);
        if (reason !== undefined) {
          this.#refuse(500, `the path ${JSON.stringify(outcome.path.slice(0, 100))}: ${reason}`);
          return;
        }
        this.#request.setPath(path, query);
      }
      if (!outcome.done) this.#requestBody();
      else {
        if (outcome.body !== undefined) this.#replaceRequestBody(outcome.body);
        this.#proceed();
      }
    });
  }

  /** What the client sends is thrown away. */
  #replaceRequestBody(body: Buffer): void {
    if (!this.#request.hasBody) {
      this.#request.replaceBody(body);
      return;
    }
    let rest = body;
    this.#request.pipeBody((_chunk, _last, pass) => {
      const next = rest;
      rest = Buffer.alloc(0);
      pass(next);
    });
  }

  #requestBody(): void {
    const mode = this.#request.hasBody ? this.#config.requestBody : 'NONE';
    if (mode === 'STREAMED')
      this.#request.pipeBody((chunk, last, pass) =>
        this.#when(this.#processing.body('request', chunk, last), ({ body }) => pass(body ?? chunk)),
      );
    if (mode !== 'BUFFERED') {
      this.#proceed();
      return;
    }
    const { head } = this.#request;
    this.#request.collectBody(maxBufferedBytes, (collected, complete) => {
      if (!complete) {
        this.#request.reply({
          status: 413,
          body: 'Payload Too Large',
          details: 'request_payload_too_large',
        });
        return;
      }
      this.#when(this.#processing.body('request', collected, true), (outcome) => {
        applyHeaderEdits(head.headers, outcome.headers, outcome.removeHeaders);
        if (outcome.body !== undefined) this.#request.replaceBody(outcome.body);
        this.#proceed();
      });
    });
  }

  #proceed(): void {
    const { responseHeaders, responseBody } = this.#config;
    if (responseHeaders || responseBody !== 'NONE') this.#request.tapResponse(this.#tap());
    this.#request.proceed();
  }

  #tap(): ResponseTap {
    const { responseHeaders, responseBody } = this.#config;
    /** The service has said that it wants nothing of the body. */
    let done = false;
    return {
      ...(responseHeaders && {
        head: (head, ended, resume) =>
          this.#when(
            this.#processing.headers('response', statusAndHeaders(head), ended),
            ({ headers, removeHeaders, status, done: last, body }) => {
              applyHeaderEdits(head.headers, headers, removeHeaders);
              done = last;
              resume(status === undefined ? head : { ...head, status }, last ? body : undefined);
            },
          ),
      }),
      ...(responseBody === 'STREAMED' && {
        streamed: (chunk, last, pass) => {
          if (done) pass(chunk);
          else this.#when(this.#processing.body('response', chunk, last), ({ body }) => pass(body ?? chunk));
        },
      }),
      ...(responseBody === 'BUFFERED' && {
        buffered: {
          maxBytes: maxBufferedBytes,
          ask: (head, whole, resume) => {
            if (done) resume(head, whole);
            else
              this.#when(
                this.#processing.body('response', whole, true),
                ({ headers, removeHeaders, body }) => {
                  applyHeaderEdits(head.headers, headers, removeHeaders);
                  resume(head, body ?? whole);
                },
              );
          },
          tooLarge: () =>
            this.#request.fail({
              status: 500,
              body: 'Internal Server Error',
              details: 'response_payload_too_large',
            }),
        },
      }),
    };
  }
}

function requestHeaders({ method, scheme, authority, path, query, headers }: RequestHead): HeaderMap {
  return HeaderMap.adopt([
    ':method',
    method,
    ':scheme',
    scheme,
    ':authority',
    authority,
    ':path',
    query === undefined ? path : `${path}?${query}`,
    ...headers.flat,
  ]);
}

const statusAndHeaders = ({ status, headers }: ResponseHead): HeaderMap =>
  HeaderMap.adopt([':status', String(status), ...headers.flat]);

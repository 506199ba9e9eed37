// A shop for one book in four services: productpage asks details and reviews, reviews (from v2 on) asks ratings. Each
// answers JSON and hands on the headers that a trace and a route by user need. Ports and paths are those of Istio's
// sample of that name, so that its examples of routes fit.
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { details, product, ratings, reviewTexts } from './book.ts';
import { FaultKnob } from './fault-knob.ts';
import { pageHtml } from './book-page.ts';

export const bookServices = ['productpage', 'details', 'reviews', 'ratings'] as const;
export type BookService = (typeof bookServices)[number];

export interface BookinfoOptions {
  readonly service: BookService;
  /** Of reviews: v1 has no ratings, v2 black stars, v3 red ones. Of the others: only told. */
  readonly version: string;
  readonly host: string;
  readonly port: number;
  readonly podName: string;
  /** `http://host:port` of the services that it asks. */
  readonly details?: string;
  readonly reviews?: string;
  readonly ratings?: string;
  /** For one question to another service. */
  readonly timeoutMs?: number;
  /** As the header `x-fault`, for requests without one. */
  readonly fault?: string;
}

/** Headers that are sent on: of traces, of the user, and of our own faults. */
const handedOn = [
  'x-request-id',
  'traceparent',
  'tracestate',
  'baggage',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'end-user',
  'authorization',
  'cookie',
  'user-agent',
  'x-fault',
] as const;

export function headersOn(headers: IncomingHttpHeaders): Record<string, string> {
  const on: Record<string, string> = {};
  for (const name of handedOn) {
    const value = headers[name];
    if (typeof value === 'string') on[name] = value;
  }
  return on;
}

interface Asked {
  readonly status: number;
  readonly body: unknown;
}

/** An answer that is longer is cut: those of the shop are small. */
const maxAnswer = 1 << 20;

/**
 * Each question has a connection of its own, so that without a waypoint, too, replicas take turns. Never throws: a
 * service that cannot be asked is an answer of status 0.
 */
function ask(url: string, headers: Record<string, string>, timeoutMs: number): Promise<Asked> {
  const { promise, resolve } = Promise.withResolvers<Asked>();
  const failed = (error: string): void => resolve({ status: 0, body: { error } });
  const request = httpRequest(url, { headers, agent: false }, (response) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      if (text.length < maxAnswer) text += chunk;
    });
    response.on('error', (error) => failed(error.message));
    response.on('end', () => {
      let body: unknown;
      try {
        body = JSON.parse(text);
      } catch {
        body = { error: text.trim().slice(0, 200) };
      }
      resolve({ status: response.statusCode ?? 0, body });
    });
  });
  const timer = setTimeout(() => {
    failed(`no answer within ${timeoutMs} ms`);
    request.destroy();
  }, timeoutMs);
  request.on('error', (error) => failed(error.message));
  request.on('close', () => clearTimeout(timer));
  request.end();
  return promise;
}

class Shop {
  readonly #options: BookinfoOptions;
  readonly #timeoutMs: number;
  readonly #base: { readonly service: string; readonly version: string; readonly pod: string };

  constructor(options: BookinfoOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? 3000;
    const { service, version, podName: pod } = options;
    this.#base = { service, version, pod };
  }

  /** Status and body; undefined: no such path. */
  async answer(path: string, headers: IncomingHttpHeaders): Promise<Asked | undefined> {
    if (path === '/health') return { status: 200, body: { ...this.#base, status: 'healthy' } };
    const [, first = '', id = '', ...rest] = path.split('/');
    const { service } = this.#options;
    if (service !== 'productpage') {
      if (first !== service || id !== String(product.id) || rest.length > 0) return undefined;
      if (service === 'details') return { status: 200, body: { ...details, ...this.#base } };
      if (service === 'ratings') return { status: 200, body: { id: product.id, ratings, ...this.#base } };
      return { status: 200, body: await this.#reviews(headers) };
    }
    return this.#front(path, headers);
  }

  async #front(path: string, headers: IncomingHttpHeaders): Promise<Asked | undefined> {
    const { details: detailsUrl = 'http://details:9080', reviews: reviewsUrl = 'http://reviews:9080' } =
      this.#options;
    const one = `/api/v1/products/${product.id}`;
    const on = headersOn(headers);
    const book = () => ask(`${detailsUrl}/details/${product.id}`, on, this.#timeoutMs);
    const opinions = () => ask(`${reviewsUrl}/reviews/${product.id}`, on, this.#timeoutMs);
    switch (path) {
      case '/':
      case '/productpage': {
        const [about, said] = await Promise.all([book(), opinions()]);
        return { status: 200, body: { ...this.#base, product, details: about, reviews: said } };
      }
      case '/api/v1/products':
        return { status: 200, body: [product] };
      case one:
        return passed(await book());
      case `${one}/reviews`:
        return passed(await opinions());
      default:
        return undefined;
    }
  }

  async #reviews(headers: IncomingHttpHeaders): Promise<unknown> {
    const { version, ratings: ratingsUrl = 'http://ratings:9080' } = this.#options;
    const base = { id: String(product.id), ...this.#base };
    if (version === 'v1') return { ...base, reviews: reviewTexts };
    const { status, body } = await ask(
      `${ratingsUrl}/ratings/${product.id}`,
      headersOn(headers),
      this.#timeoutMs,
    );
    const color = version === 'v2' ? 'black' : 'red';
    const stars = (body as { ratings?: Record<string, number> }).ratings ?? {};
    return {
      ...base,
      reviews: reviewTexts.map((review) => ({
        ...review,
        rating:
          status === 200
            ? { stars: stars[review.reviewer] ?? 0, color }
            : { error: 'there are no ratings just now', status },
      })),
    };
  }
}

/** An answer of another service as our own; if there was none, 503. */
const passed = ({ status, body }: Asked): Asked => ({ status: status === 0 ? 503 : status, body });

function send(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) }).end(text);
}

async function serve(
  shop: Shop,
  knob: FaultKnob,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const json = (status: number, body: unknown): void =>
    send(response, status, 'application/json', `${JSON.stringify(body)}\n`);
  request.resume();
  const url = new URL(request.url ?? '/', 'http://localhost');
  // Probes are spared.
  if (url.pathname !== '/health') {
    const header = request.headers['x-fault'];
    let fault;
    try {
      fault = knob.decide(typeof header === 'string' ? header : undefined);
    } catch (error) {
      return json(400, { error: `x-fault: ${(error as Error).message}` });
    }
    if (fault.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    if (fault.fail === 'reset') return void request.socket.resetAndDestroy();
    if (fault.fail !== undefined) return json(fault.fail, { error: 'failed on demand' });
  }
  const found = await shop.answer(url.pathname, request.headers);
  if (found === undefined) return json(404, { error: `no such path: ${url.pathname}` });
  const wantsPage = url.pathname === '/productpage' && url.searchParams.get('format') !== 'json';
  if (wantsPage) send(response, found.status, 'text/html; charset=utf-8', pageHtml(found.body));
  else json(found.status, found.body);
}

/** Resolves when it listens; rejects if it cannot. Throws TypeError for a fault that is none. */
export function startBookinfo(options: BookinfoOptions): Promise<Server> {
  const shop = new Shop(options);
  const knob = new FaultKnob(options.service, options.fault);
  const server = createServer((request, response) => {
    response.setHeader('x-served-by', `${options.podName} ${options.service}-${options.version}`);
    serve(shop, knob, request, response).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 65_000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => resolve(server));
  });
}

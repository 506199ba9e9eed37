// A small HTTP application for demonstrations and tests, with the answers of httpbin that they need. What matters
// here is `origin`: the address of the TCP peer as the application sees it, never a header.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

const bodyLimit = 1 << 20;
const bytesLimit = 100 << 20;
const delayLimitSeconds = 60;

export interface HttpbinOptions {
  readonly host: string;
  readonly port: number;
  /** Shown in answers, so that a caller sees who served it. */
  readonly podName: string;
}

interface Echo {
  readonly args: Readonly<Record<string, string | readonly string[]>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly origin: string;
  readonly peer: string;
  readonly url: string;
  readonly pod: string;
}

const plainIp = (ip: string): string => ip.replace(/^::ffff:/, '');

function echo(request: IncomingMessage, url: URL, podName: string): Echo {
  const ip = plainIp(request.socket.remoteAddress ?? '');
  const headers: Record<string, string> = {};
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] as string;
    const value = request.rawHeaders[i + 1] as string;
    headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`;
  }
  const args: Record<string, string | string[]> = {};
  for (const key of new Set(url.searchParams.keys())) {
    const values = url.searchParams.getAll(key);
    args[key] = values.length === 1 ? (values[0] as string) : values;
  }
  return {
    args,
    headers,
    origin: ip,
    peer: `${ip.includes(':') ? `[${ip}]` : ip}:${request.socket.remotePort}`,
    url: url.href,
    pod: podName,
  };
}

function json(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body, null, 2)}\n`;
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text);
}

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > bodyLimit) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function sendBytes(response: ServerResponse, count: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': count });
  const block = Buffer.alloc(64 * 1024, 'aura');
  let wake = (): void => {};
  response.on('drain', () => wake());
  response.on('close', () => wake());
  for (let left = count; left > 0 && !response.destroyed; left -= block.length)
    if (!response.write(left >= block.length ? block : block.subarray(0, left)))
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  response.end();
}

async function answer(request: IncomingMessage, response: ServerResponse, podName: string): Promise<void> {
  const host = request.headers.host ?? 'localhost';
  let url: URL;
  try {
    url = new URL(request.url ?? '/', `http://${host}`);
  } catch {
    return json(response, 400, { error: `not a URL: ${request.url}` });
  }
  const [, what = '', parameter = ''] = url.pathname.split('/');
  const number = Number(parameter);
  const whole = parameter !== '' && Number.isInteger(number) && number >= 0;
  switch (what) {
    case '':
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.end(
        'httpbin of aura: /get /headers /ip /hostname /anything /post /status/N /bytes/N /delay/SECONDS\n',
      );
      return;
    case 'get':
      return json(response, 200, echo(request, url, podName));
    case 'headers':
      return json(response, 200, { headers: echo(request, url, podName).headers });
    case 'ip': {
      const { origin, peer } = echo(request, url, podName);
      return json(response, 200, { origin, peer });
    }
    case 'hostname':
      return json(response, 200, { hostname: podName });
    case 'post':
    case 'put':
    case 'anything': {
      const body = await readBody(request);
      if (body === undefined) return json(response, 413, { error: `a body may have ${bodyLimit} bytes` });
      return json(response, 200, {
        method: request.method,
        data: body.toString('utf8'),
        ...echo(request, url, podName),
      });
    }
    case 'status':
      if (!whole || number < 100 || number > 599)
        return json(response, 400, { error: `not a status: ${parameter}` });
      // 1xx has no final answer of its own.
      response.writeHead(number < 200 ? 400 : number, { 'content-length': 0 }).end();
      return;
    case 'bytes':
      if (!whole || number > bytesLimit)
        return json(response, 400, { error: `a number of bytes from 0 to ${bytesLimit}` });
      return sendBytes(response, number);
    case 'delay': {
      const seconds = Number(parameter);
      if (!(seconds >= 0 && seconds <= delayLimitSeconds))
        return json(response, 400, { error: `seconds from 0 to ${delayLimitSeconds}` });
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      return json(response, 200, echo(request, url, podName));
    }
    default:
      return json(response, 404, { error: `no such path: ${url.pathname}` });
  }
}

/** Resolves when it listens; rejects if it cannot. */
export function startHttpbin(options: HttpbinOptions): Promise<Server> {
  const server = createServer((request, response) => {
    response.setHeader('server', 'aura-httpbin');
    answer(request, response, options.podName).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 65_000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => resolve(server));
  });
}

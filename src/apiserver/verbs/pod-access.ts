// log, exec, attach, port-forward: passed on to the kubelet of the pod's node as a stream in both directions,
// whatever protocol the two ends have agreed on (WebSocket or SPDY by upgrade, plain HTTP for logs).
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import { ApiError, badRequest, notFound } from '../api-error.ts';
import type { Call } from '../serving/call.ts';
import { digList, digNumber, digText, type Item } from '../json.ts';

/** Where a node's kubelet is reached. */
export interface KubeletAddress {
  readonly host: string;
  readonly port: number;
}

export interface PodAccess {
  /** Undefined if the node has none. */
  kubelet(node: Item): KubeletAddress | undefined;
  /** Sent as a bearer token, if given. */
  readonly token?: () => string | undefined;
}

/** By the node's own words: its InternalIP and status.daemonEndpoints, by default port 10250. Plain HTTP. */
export function nodeStatusAccess(token?: () => string | undefined): PodAccess {
  return {
    kubelet(node) {
      const host = digText(
        digList(node.status, 'addresses').find((entry) => digText(entry, 'type') === 'InternalIP'),
        'address',
      );
      if (host === '') return undefined;
      return { host, port: digNumber(node.status, 'daemonEndpoints', 'kubeletEndpoint', 'Port') || 10250 };
    },
    ...(token === undefined ? {} : { token }),
  };
}

export type PodSubresource = 'log' | 'exec' | 'attach' | 'portforward';

const segment = encodeURIComponent;

/** The container that is meant when none is named. */
function containerOf(pod: Item, asked: string | null): string {
  const names = ['containers', 'initContainers', 'ephemeralContainers'].flatMap((list) =>
    digList(pod.spec, list).map((container) => digText(container, 'name')),
  );
  const own = digList(pod.spec, 'containers').map((container) => digText(container, 'name'));
  if (asked !== null && asked !== '') {
    if (!names.includes(asked))
      throw badRequest(`container ${asked} is not valid for pod ${pod.metadata.name}`);
    return asked;
  }
  const marked = pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'];
  if (marked !== undefined && own.includes(marked)) return marked;
  if (own.length === 1) return own[0] as string;
  throw badRequest(
    `a container name must be specified for pod ${pod.metadata.name}, choose one of: [${own.join(' ')}]`,
  );
}

/** The kubelet's own path for a request on the API server's. */
export function kubeletPath(pod: Item, sub: PodSubresource, query: URLSearchParams): string {
  const { name, namespace = '' } = pod.metadata;
  const where = `${segment(namespace)}/${segment(name)}`;
  const out = new URLSearchParams();
  const pass = (from: string, to = from): void => {
    for (const value of query.getAll(from)) out.append(to, value);
  };
  switch (sub) {
    case 'log': {
      const container = containerOf(pod, query.get('container'));
      for (const key of [
        'follow',
        'previous',
        'sinceSeconds',
        'sinceTime',
        'timestamps',
        'tailLines',
        'limitBytes',
        'stream',
      ])
        pass(key);
      const text = out.toString();
      return `/containerLogs/${where}/${segment(container)}${text === '' ? '' : `?${text}`}`;
    }
    case 'exec':
    case 'attach': {
      const container = containerOf(pod, query.get('container'));
      for (const [from, to] of [
        ['stdin', 'input'],
        ['stdout', 'output'],
        ['stderr', 'error'],
        ['tty', 'tty'],
      ] as const) {
        const value = query.get(from);
        if (value === 'true' || value === '1') out.append(to, '1');
      }
      pass('command');
      return `/${sub}/${where}/${segment(container)}?${out.toString()}`;
    }
    case 'portforward': {
      pass('ports', 'port');
      const text = out.toString();
      return `/portForward/${where}${text === '' ? '' : `?${text}`}`;
    }
  }
}

export interface Target {
  readonly address: KubeletAddress;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
}

const hopHeaders = new Set(['authorization', 'host', 'cookie', 'accept-encoding', 'x-forwarded-for']);

export function kubeletTarget(
  access: PodAccess,
  pod: Item,
  node: Item | undefined,
  sub: PodSubresource,
  query: URLSearchParams,
  incoming: IncomingMessage,
): Target {
  const nodeName = digText(pod.spec, 'nodeName');
  if (nodeName === '') throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
  if (node === undefined) throw notFound({ group: '', plural: 'nodes' }, nodeName);
  const address = access.kubelet(node);
  if (address === undefined)
    throw new ApiError(
      503,
      'ServiceUnavailable',
      `node ${nodeName} has no InternalIP, so its kubelet cannot be reached`,
    );
  const headers: OutgoingHttpHeaders = {};
  for (const [key, value] of Object.entries(incoming.headers))
    if (value !== undefined && !hopHeaders.has(key) && !key.startsWith('impersonate-')) headers[key] = value;
  const token = access.token?.();
  if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
  return { address, path: kubeletPath(pod, sub, query), headers };
}

const unreachable = (target: Target, error: Error): ApiError =>
  new ApiError(
    502,
    'BadGateway',
    `the kubelet at ${target.address.host}:${target.address.port} cannot be reached: ${error.message}`,
  );

/** A plain answer, streamed: logs. */
export function proxyPlain(call: Call, target: Target): Promise<void> {
  const { response } = call;
  return new Promise((resolve, reject) => {
    const upstream = httpRequest({
      host: target.address.host,
      port: target.address.port,
      method: call.method,
      path: target.path,
      headers: { ...target.headers, connection: 'close' },
    });
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, {
        'content-type': answer.headers['content-type'] ?? 'text/plain',
      });
      response.flushHeaders();
      answer.pipe(response);
      answer.on('close', () => {
        if (!answer.complete) response.destroy();
        resolve();
      });
    });
    upstream.on('error', (error) => {
      if (response.headersSent) {
        response.destroy();
        resolve();
      } else reject(unreachable(target, error));
    });
    response.on('close', () => upstream.destroy());
    call.request.pipe(upstream);
  });
}

/** An upgraded connection: bytes both ways until either side ends. `socket` is the client's. */
export function proxyUpgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  target: Target,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const upstream = httpRequest({
      host: target.address.host,
      port: target.address.port,
      method: request.method ?? 'POST',
      path: target.path,
      headers: target.headers,
    });
    const gone = (): void => {
      upstream.destroy();
    };
    socket.on('close', gone);
    upstream.on('upgrade', (answer, kubelet, first) => {
      socket.write(headText(answer));
      if (first.length > 0) socket.write(first);
      if (head.length > 0) kubelet.write(head);
      kubelet.pipe(socket);
      socket.pipe(kubelet);
      const end = (): void => {
        kubelet.destroy();
        socket.destroy();
        resolve();
      };
      kubelet.on('error', end);
      kubelet.on('close', end);
      socket.on('error', end);
      socket.on('close', end);
    });
    upstream.on('response', (answer) => {
      // The kubelet refuses: its answer goes to the client as it is.
      socket.write(headText(answer));
      answer.pipe(socket);
      answer.on('close', resolve);
    });
    upstream.on('error', (error) => {
      socket.off('close', gone);
      reject(unreachable(target, error));
    });
    upstream.end();
  });
}

function headText(answer: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${answer.statusCode ?? 502} ${answer.statusMessage ?? ''}`];
  for (let i = 0; i + 1 < answer.rawHeaders.length; i += 2) {
    const name = answer.rawHeaders[i] as string;
    // The body is read unchunked and ends with the connection.
    if (answer.statusCode !== 101 && /^(transfer-encoding|connection|keep-alive)$/i.test(name)) continue;
    lines.push(`${name}: ${answer.rawHeaders[i + 1] as string}`);
  }
  if (answer.statusCode !== 101) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n`;
}

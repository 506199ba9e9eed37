// Upgraded requests for exec, attach and port-forward: what the client speaks decides how its bytes reach the kubelet.
// A WebSocket goes through as it is; SPDY, plain or inside a WebSocket, is translated.
import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { ApiError, badRequest } from '../api-error.ts';
import { proxyUpgrade, type Target } from '../verbs/pod-access.ts';
import {
  bridgeExec,
  bridgePortForward,
  rawTransport,
  tunnelledTransport,
  type Kubelet,
  type SpdyTransport,
} from './spdy-bridge.ts';

const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';
const execProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];
/** What SPDY clients call the fourth version, the last one before WebSockets. */
const spdyExecProtocol = 'v4.channel.k8s.io';
const spdyForwardProtocol = 'portforward.k8s.io';

const listed = (request: IncomingMessage, header: string): string[] =>
  (request.headersDistinct[header] ?? []).flatMap((value) => value.split(',').map((part) => part.trim()));

/** `target` gives the kubelet and path for a query. Rejects before anything has been sent to the client. */
export async function serveUpgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  subresource: string,
  query: URLSearchParams,
  target: (query: URLSearchParams) => Target,
): Promise<void> {
  const upgrade = (request.headers.upgrade ?? '').toLowerCase();
  const tunnelled =
    upgrade === 'websocket' && listed(request, 'sec-websocket-protocol').includes(tunnelProtocol);
  if (upgrade !== 'spdy/3.1' && !tunnelled) {
    await proxyUpgrade(request, socket, head, target(query));
    return;
  }
  const accept = (): SpdyTransport => {
    if (tunnelled) {
      const key = String(request.headers['sec-websocket-key'] ?? '');
      const proof = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${proof}\r\nSec-WebSocket-Protocol: ${tunnelProtocol}\r\n\r\n`,
      );
      return tunnelledTransport(socket, head);
    }
    const protocol = subresource === 'portforward' ? spdyForwardProtocol : spdyExecProtocol;
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
    );
    return rawTransport(socket, head);
  };
  if (subresource === 'portforward') {
    // The pod must be there; its ports are asked for stream by stream.
    target(new URLSearchParams());
    await bridgePortForward(accept(), (port) =>
      openKubelet(target(new URLSearchParams({ ports: port })), [spdyExecProtocol]),
    );
    return;
  }
  const offered = listed(request, 'x-stream-protocol-version');
  if (!offered.includes(spdyExecProtocol))
    throw badRequest(
      `of the protocols ${offered.join(', ')} none is served: use one that knows ${spdyExecProtocol}`,
    );
  const wants = (name: string): boolean => ['true', '1'].includes(query.get(name) ?? '');
  const wanted = new Set(['error']);
  for (const name of ['stdin', 'stdout']) if (wants(name)) wanted.add(name);
  if (wants('stderr') && !wants('tty')) wanted.add('stderr');
  if (wants('tty')) wanted.add('resize');
  const kubelet = await openKubelet(target(query), execProtocols);
  await bridgeExec(accept(), kubelet, wanted);
}

/** A WebSocket to a kubelet. Rejects with its own words if it refuses. */
function openKubelet(target: Target, protocols: readonly string[]): Promise<Kubelet> {
  return new Promise((resolve, reject) => {
    const { authorization } = target.headers;
    const request = httpRequest({
      host: target.address.host,
      port: target.address.port,
      method: 'GET',
      path: target.path,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': randomBytes(16).toString('base64'),
        'sec-websocket-protocol': protocols.join(', '),
        ...(authorization === undefined ? {} : { authorization }),
      },
      timeout: 30_000,
    });
    request.on('upgrade', (_response, socket, head) => {
      socket.setTimeout(0);
      resolve({ socket, head });
    });
    request.on('response', (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += text.length > 4096 ? '' : chunk.toString()));
      response.on('end', () =>
        reject(
          new ApiError(response.statusCode ?? 502, 'InternalError', text.trim() || 'the kubelet refuses'),
        ),
      );
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', (error) =>
      reject(
        new ApiError(
          502,
          'BadGateway',
          `the kubelet at ${target.address.host}:${target.address.port} cannot be reached: ${error.message}`,
        ),
      ),
    );
    request.end();
  });
}

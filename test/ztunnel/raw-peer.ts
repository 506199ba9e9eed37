// Peers that do as they like: TLS to a pod's port 15008 with any certificate or none, and HTTP/2 by node:http2, which
// is not our own.
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { splitPem, type Certificate } from '#/identity/index.ts';

/** What a peer of the mesh presents. */
export function tlsIdentity(certificate: Certificate): ConnectionOptions {
  return {
    cert: certificate.chainPem,
    key: certificate.keyPem,
    ca: splitPem(certificate.rootsPem) as string[],
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3',
    rejectUnauthorized: true,
    checkServerIdentity: () => undefined,
  };
}

/** Resolves when the client's side of the hand-shake is done: the server may still refuse. */
export function tlsOver(socket: Socket, options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const tls = connectTls({ ...options, socket });
    tls.once('secureConnect', () => resolve(tls));
    tls.once('error', reject);
    tls.on('error', () => {});
  });
}

/** Resolves when the other side has ended, however it did. */
export function hungUp(tls: TLSSocket): Promise<void> {
  return new Promise((resolve) => {
    for (const event of ['end', 'close', 'error']) tls.once(event, () => resolve());
    tls.resume();
  });
}

export async function http2Over(socket: Socket, options: ConnectionOptions): Promise<ClientHttp2Session> {
  const tls = await tlsOver(socket, options);
  const session = connectHttp2('https://peer', { createConnection: () => tls });
  session.on('error', () => {});
  return session;
}

export interface Answer {
  readonly status: number;
  readonly stream: ClientHttp2Stream;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** Sends a request; resolves with its response's head, rejects when the stream ends without one. */
export function request(
  session: ClientHttp2Session,
  headers: Readonly<Record<string, string>>,
  options: { readonly endStream?: boolean } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: options.endStream ?? false });
    stream.once('response', (head) => {
      resolve({ status: Number(head[':status']), stream, headers: head });
    });
    stream.once('error', reject);
    stream.on('error', () => {});
    stream.once('close', () => reject(new Error(`closed without an answer, code ${stream.rstCode}`)));
  });
}

export const askConnect = (
  session: ClientHttp2Session,
  authority: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> => request(session, { ':method': 'CONNECT', ':authority': authority, ...headers });

// Mutual TLS over a connection that is there already, as server or as client. Resolves only when the peer is proven:
// chain, usage, identity, trust domain, ALPN.
import type { Duplex } from 'node:stream';
import { connect, TLSSocket } from 'node:tls';
import { errorText, MeshError } from '#/errors/index.ts';
import type { Identity } from '#/model/index.ts';
import type { Certificate } from './certificate.ts';
import { peerIdentity, tlsClientOptions, tlsServerOptions, verifyTrustDomain } from './tls-options.ts';

export interface SecuredPeer {
  readonly socket: TLSSocket;
  readonly peer: Identity;
}

export interface HandshakeOptions {
  /** Milliseconds from the start of the handshake; default 10 000. */
  readonly timeoutMs?: number;
}

// What tls.Server does with its sockets when their handshake is done. A TLSSocket that was made by hand leaves the
// verdict on the client's chain unread, and swallows later faults of the TLS layer until it is told that it is on its
// own. tls.Server itself is no help: it cannot say which of its sockets belongs to which connection. These two are
// not in Node's documentation; were they gone, every handshake would fail, and the tests with it.
interface Internals {
  readonly _handle: { verifyError(): Error | null | undefined } | null;
  _releaseControl(): void;
}

/** The server side. Rejects with MeshError TLS_FAILED, and destroys the connection, unless the client is proven. */
export function acceptTls(
  connection: Duplex,
  certificate: Certificate,
  options: HandshakeOptions = {},
): Promise<SecuredPeer> {
  const socket = new TLSSocket(connection, { ...tlsServerOptions(certificate), isServer: true });
  return secured(socket, 'secure', options, () => {
    const internals = socket as unknown as Internals;
    if (internals._handle === null) throw new Error('connection closed');
    const fault = internals._handle.verifyError();
    if (fault !== undefined && fault !== null) throw fault;
    const peer = provenIdentity(socket);
    verifyTrustDomain(peer, certificate.identity);
    internals._releaseControl();
    return peer;
  });
}

/** The client side. Rejects with MeshError IDENTITY_MISMATCH or TLS_FAILED, and destroys the connection. */
export function connectTls(
  connection: Duplex,
  certificate: Certificate,
  expected: readonly Identity[],
  options: HandshakeOptions = {},
): Promise<SecuredPeer> {
  const socket = connect({ ...tlsClientOptions(certificate, expected), socket: connection });
  return secured(socket, 'secureConnect', options, () => provenIdentity(socket));
}

function provenIdentity(socket: TLSSocket): Identity {
  if (socket.alpnProtocol !== 'h2')
    throw new MeshError('TLS_FAILED', 'tls handshake error: the peer does not offer h2');
  const peer = peerIdentity(socket);
  if (peer === undefined)
    throw new MeshError('TLS_FAILED', "tls handshake error: the peer's certificate has no SPIFFE identity");
  return peer;
}

/** OpenSSL's own word, such as `peer did not return a certificate`: its message has addresses and source lines too. */
function reasonOf(error: unknown): string {
  const reason = error instanceof Error && 'reason' in error ? error.reason : undefined;
  return typeof reason === 'string' && reason !== '' ? reason : errorText(error);
}

function secured(
  socket: TLSSocket,
  event: 'secure' | 'secureConnect',
  options: HandshakeOptions,
  prove: () => Identity,
): Promise<SecuredPeer> {
  const limit = options.timeoutMs ?? 10_000;
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      socket.off(event, onSecure);
      socket.off('error', onError);
      socket.off('_tlsError', onError);
      socket.off('end', onClose);
      socket.off('close', onClose);
    };
    const fail = (error: unknown) => {
      settle();
      // Whatever the socket still has to say about its end has no listener any more.
      socket.on('error', () => {});
      socket.destroy();
      reject(
        error instanceof MeshError
          ? error
          : new MeshError('TLS_FAILED', `tls handshake error: ${reasonOf(error)}`),
      );
    };
    const onSecure = () => {
      try {
        const peer = prove();
        settle();
        resolve({ socket, peer });
      } catch (error) {
        fail(error);
      }
    };
    const onError = (error: Error) => fail(error);
    const onClose = () => fail(new Error('connection closed'));
    const timer = setTimeout(() => fail(new Error(`not finished within ${limit} ms`)), limit);
    socket.once(event, onSecure);
    socket.on('error', onError);
    // A server's handshake faults come under this name as long as no tls.Server has the socket.
    socket.on('_tlsError', onError);
    // A peer that ends half-way has nothing to wait for; with half-open sockets, `close` would not follow.
    socket.once('end', onClose);
    socket.once('close', onClose);
  });
}

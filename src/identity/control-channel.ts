// The gRPC channel from a proxy to its control plane, for xDS and for certificates: HTTP/2 over TLS 1.3 with a bearer
// token, no client certificate; plain text only where the address says http.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { checkServerIdentity, createSecureContext, getCACertificates, type PeerCertificate } from 'node:tls';
import { Client, credentials, type ChannelCredentials, type ClientOptions } from '@grpc/grpc-js';
import { parseIpBytes } from '#/kit/index.ts';

export interface ChannelTarget {
  /** `https://host:port`, or `http://host:port` for plain text. */
  readonly address: string;
  /** PEM of the roots to trust; undefined: those of the system. */
  readonly rootCert: Uint8Array | undefined;
  /** A name that the server's certificate may have instead of the host's. */
  readonly altHostname?: string;
}

const mebibyte = 1024 * 1024;

const channelOptions: ClientOptions = {
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  // A whole mesh can come in one message.
  'grpc.max_receive_message_length': 200 * mebibyte,
  'grpc-node.flow_control_window': 4 * mebibyte,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 15_000,
  // The callers have their own rules for trying again.
  'grpc.enable_retries': 0,
  // A new channel is a new connection, with the roots of now.
  'grpc.use_local_subchannel_pool': 1,
  // The environment's proxy is for the outside world; and nobody publishes service configs in TXT records here.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};

/** A channel that leaves nothing behind. */
export interface ControlChannel {
  readonly client: Client;
  close(): void;
}

/** Throws TypeError if the address is not a URL with the scheme http or https, RangeError or Error on bad roots. */
export function openChannel(target: ChannelTarget): ControlChannel {
  const { protocol, hostname, port } = parseAddress(target.address);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const options = { ...channelOptions };
  let channel: ChannelCredentials;
  if (protocol === 'http:') {
    channel = credentials.createInsecure();
  } else {
    const context = createSecureContext({
      ca:
        target.rootCert === undefined
          ? [...getCACertificates('system'), ...getCACertificates('bundled')]
          : Buffer.from(target.rootCert),
      minVersion: 'TLSv1.3',
      ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
    });
    const names = [host, ...(target.altHostname === undefined ? [] : [target.altHostname])];
    channel = credentials.createFromSecureContext(context, {
      checkServerIdentity: (_host: string, certificate: PeerCertificate) => nameFault(names, certificate),
    });
    // An address is no server name (RFC 6066, 3), and Node throws if it is given as one.
    if (parseIpBytes(host) !== undefined)
      options['grpc.ssl_target_name_override'] = target.altHostname ?? 'address.invalid';
  }
  const sockets = trackSockets(channel);
  const client = new Client(`dns:${hostname}:${port}`, channel, options);
  return {
    client,
    close() {
      client.close();
      setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, closingMs).unref();
    },
  };
}

/** What a connection may take to end in good order. */
const closingMs = 500;

/**
 * grpc-js has no limit for the handshakes of TLS and HTTP/2, and forgets a connection that is in one when its channel
 * is closed: a host that takes connections and says nothing would collect one for every attempt.
 */
function trackSockets(channel: ChannelCredentials): ReadonlySet<Destroyable> {
  const sockets = new Set<Destroyable>();
  const create = channel._createSecureConnector.bind(channel);
  channel._createSecureConnector = (...args) => {
    const connector = create(...args);
    return {
      connect(socket) {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
        return connector.connect(socket);
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  };
  return sockets;
}

interface Destroyable {
  destroy(): void;
}

function parseAddress(address: string): { protocol: string; hostname: string; port: string } {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '')
    throw new TypeError(`not an address of a control plane: ${address} (https://host:port is needed)`);
  return {
    protocol: url.protocol,
    hostname: url.hostname,
    port: url.port || (url.protocol === 'https:' ? '443' : '80'),
  };
}

function nameFault(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  const faults = names.map((name) => checkServerIdentity(name, certificate));
  return faults.includes(undefined) ? undefined : faults[0];
}

/** A source of root certificates from a setting: `SYSTEM`, a PEM text, or a path, which is read at each call. */
export function rootSource(setting: string): () => Uint8Array | undefined {
  if (setting === 'SYSTEM') return () => undefined;
  if (setting.includes('-----BEGIN')) {
    const pem = Buffer.from(setting);
    return () => pem;
  }
  return () => {
    try {
      return readFileSync(setting);
    } catch (error) {
      throw new Error(`root certificate ${setting} cannot be read`, { cause: error });
    }
  };
}

/** A source of bearer tokens from a setting: a path, which is read at each call, else the token itself. */
export function tokenSource(setting: string): () => Promise<string> {
  const isPath = setting.includes('/') && !/\s/.test(setting);
  if (!isPath) return () => Promise.resolve(setting.trim());
  return async () => {
    try {
      return (await readFile(setting, 'utf8')).trim();
    } catch (error) {
      throw new Error(`token ${setting} cannot be read`, { cause: error });
    }
  };
}

/** The headers of a call: the token, then the others. */
export function callHeaders(
  token: string | undefined,
  more: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  return { ...(token !== undefined && token !== '' && { authorization: `Bearer ${token}` }), ...more };
}

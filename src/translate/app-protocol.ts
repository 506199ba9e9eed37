// What a service port speaks: its appProtocol, else the prefix of its name.
import type { AppProtocol } from '#/model/index.ts';

const byWord: Readonly<Record<string, AppProtocol>> = {
  http: 'HTTP11',
  http2: 'HTTP2',
  grpc: 'GRPC',
  tcp: 'TCP',
  https: 'TLS',
  tls: 'TLS',
};

const kubernetesNames: Readonly<Record<string, AppProtocol>> = {
  'kubernetes.io/h2c': 'HTTP2',
  'kubernetes.io/ws': 'HTTP11',
  'kubernetes.io/wss': 'TLS',
};

/** Words that name a protocol which has no code on the wire; they still keep the well-known ports out. */
const otherWords = new Set(['mongo', 'mysql', 'redis', 'hbone', 'http_proxy', 'udp']);

/** Ports on which the server speaks first, so that sniffing would hang: SMTP, DNS, MySQL, MongoDB. */
const serverFirst = new Set([25, 53, 3306, 27017]);

export interface PortDescription {
  readonly port: number;
  readonly name: string;
  readonly transport: string;
  readonly appProtocol: string | undefined;
}

/** The protocol of a Kubernetes service port. UDP is UNKNOWN. */
export function appProtocolOf(port: PortDescription): AppProtocol {
  if (port.transport === 'UDP') return 'UNKNOWN';
  const standard = kubernetesNames[port.appProtocol ?? ''];
  if (standard !== undefined) return standard;
  const name = (port.appProtocol ?? port.name).toLowerCase();
  if (name.startsWith('grpc-web')) return 'UNKNOWN';
  const dash = name.indexOf('-');
  const word = dash < 0 ? name : name.slice(0, dash);
  const known = byWord[word];
  if (known !== undefined) return known;
  return !otherWords.has(word) && serverFirst.has(port.port) ? 'TCP' : 'UNKNOWN';
}

/** The protocol of a ServiceEntry port, which names it outright. */
export function appProtocolNamed(protocol: string): AppProtocol {
  return byWord[protocol.toLowerCase()] ?? 'UNKNOWN';
}

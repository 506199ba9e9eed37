// From what a user types to what is explained.
import { explainConnection } from './explain.ts';
import type { ProxyState } from './explain-differences.ts';
import type { ConnectionExplanation } from './explain-report.ts';
import { items, string, field } from './fields.ts';
import type { MeshModel } from './mesh-model.ts';
import type { RequestWish } from './request-wish.ts';
import { resolveTarget, splitPort, TargetError, type Party } from './target.ts';

export interface NamedRequest {
  readonly from: string;
  /** `NAME:PORT` */
  readonly to: string;
  /** Of names without one. */
  readonly namespace: string;
  /** The request that waypoints on the way are asked about. */
  readonly http?: RequestWish;
  readonly proxies?: readonly ProxyState[];
  readonly proxiesUnknown?: string;
}

function portNumber(party: Party, text: string | undefined): number {
  const ports = party.kind === 'service' ? party.service.ports : [];
  const [only] = ports;
  if (text === undefined) {
    if (only !== undefined && ports.length === 1) return only.servicePort;
    const known = ports.map(({ servicePort }) => servicePort).join(', ');
    throw new TargetError(`which port? write DST:PORT${known === '' ? '' : `, the service has ${known}`}`);
  }
  if (/^[0-9]{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536) return Number(text);
  const object = party.kind === 'service' ? party.document?.object : undefined;
  const named = items(object, 'spec', 'ports').find((port) => string(port, 'name') === text);
  const number = field(named, 'port') ?? field(named, 'number');
  if (typeof number === 'number') return number;
  throw new TargetError(`"${text}" is neither a port from 1 to 65535 nor the name of a port of the service`);
}

/** Throws TargetError for names that mean nothing. */
export function explainNamed(model: MeshModel, request: NamedRequest): ConnectionExplanation {
  const { from, to, namespace, http, proxies, proxiesUnknown } = request;
  const network = model.namespaceLabels(model.settings.systemNamespace)['topology.istio.io/network'] ?? '';
  const source = resolveTarget(model, from, namespace, network, true);
  const { target, port } = splitPort(to);
  const destination = resolveTarget(model, target, namespace, network, false);
  return explainConnection(model, {
    source,
    destination,
    port: portNumber(destination, port),
    ...(http === undefined ? {} : { http }),
    ...(proxies === undefined ? {} : { proxies }),
    ...(proxiesUnknown === undefined ? {} : { proxiesUnknown }),
  });
}

// Gateways and GatewayClasses, as far as they are waypoints or lead to other networks.
import type { ApplicationTunnel } from '#/model/index.ts';
import { annotation, label } from './names.ts';
import {
  annotationsOf,
  labelsOf,
  objectFacts,
  specOf,
  type ObjectFacts,
  type SourceObject,
} from './object.ts';
import { integer, list, optionalText, record, text } from './read.ts';
import { readLabelSelector, type LabelSelector } from './selector.ts';

export interface GatewayListener {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  /** TLS ends here. */
  readonly terminates: boolean;
  readonly from: 'Same' | 'All' | 'Selector';
  readonly selector: LabelSelector | undefined;
}

export interface GatewayFacts extends ObjectFacts {
  readonly className: string;
  readonly waypointFor: string | undefined;
  readonly inboundBinding: string | undefined;
  readonly network: string | undefined;
  /** Of whoever runs it, if the annotation says so. */
  readonly serviceAccount: string | undefined;
  /** `status.addresses`; a Gateway without any is not ready. */
  readonly addresses: readonly { readonly type: string; readonly value: string }[];
  /** `spec.addresses`, which an unmanaged (remote) gateway is known by. */
  readonly specAddresses: readonly { readonly type: string; readonly value: string }[];
  readonly listeners: readonly GatewayListener[];
}

export interface GatewayClassFacts extends ObjectFacts {
  readonly controller: string;
  readonly waypointFor: string | undefined;
  readonly inboundBinding: string | undefined;
}

function readListener(value: unknown): GatewayListener {
  const listener = record(value);
  const allowed = record(record(listener['allowedRoutes'])['namespaces']);
  const from = text(allowed['from']);
  return {
    name: text(listener['name']),
    protocol: text(listener['protocol']),
    port: integer(listener['port']),
    terminates: record(listener['tls'])['mode'] === 'Terminate',
    from: from === 'All' || from === 'Selector' ? from : 'Same',
    selector: allowed['selector'] === undefined ? undefined : readLabelSelector(allowed['selector']),
  };
}

function readAddresses(value: unknown): readonly { readonly type: string; readonly value: string }[] {
  return list(value)
    .map((item) => {
      const address = record(item);
      return { type: optionalText(address['type']) ?? 'IPAddress', value: text(address['value']) };
    })
    .filter((address) => address.value !== '');
}

export function readGateway(object: SourceObject): GatewayFacts {
  const spec = specOf(object);
  const labels = labelsOf(object);
  const annotations = annotationsOf(object);
  return {
    ...objectFacts(object),
    className: text(spec['gatewayClassName']),
    waypointFor: labels[label.waypointFor],
    inboundBinding: annotations[annotation.inboundBinding],
    network: labels[label.network],
    serviceAccount: annotations[annotation.gatewayServiceAccount],
    addresses: readAddresses(record(object.status)['addresses']),
    specAddresses: readAddresses(spec['addresses']),
    listeners: list(spec['listeners']).map(readListener),
  };
}

export function readGatewayClass(object: SourceObject): GatewayClassFacts {
  return {
    ...objectFacts(object),
    controller: text(specOf(object)['controllerName']),
    waypointFor: labelsOf(object)[label.waypointFor],
    inboundBinding: annotationsOf(object)[annotation.inboundBinding],
  };
}

/** Parses `PROTO[/port]`, PROTO being NONE or PROXY. Undefined for anything else. */
export function parseInboundBinding(value: string | undefined): ApplicationTunnel | undefined {
  const match = /^(NONE|PROXY)(?:\/([0-9]{1,5}))?$/.exec(value ?? '');
  if (match === null) return undefined;
  const port = Number(match[2] ?? 0);
  if (port > 65535) return undefined;
  return { protocol: match[1] as 'NONE' | 'PROXY', port };
}

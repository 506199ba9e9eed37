// aura.waypoint.v1.Resource: one noun of L7 as JSON in a small envelope. The body is checked in full against the
// shape of its kind; a body that does not fit is refused by name, since half a route or policy means something else.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { safeParse, type BaseIssue, type GenericSchema } from 'valibot';
import { formatCidr, type Cidr } from '#/kit/index.ts';
import { waypointResourceName, type WaypointResource, type WaypointResourceKind } from '#/model/index.ts';
import { ResourceSchema } from './gen/aura/waypoint/v1/resource_pb.ts';
import { destinationPolicy, subsetMembers } from './waypoint/destinations.ts';
import {
  extension,
  httpPolicy,
  requestAuthentication,
  telemetry,
  trafficPolicy,
} from './waypoint/policies.ts';
import { provider, waypointMesh } from './waypoint/providers.ts';
import { httpRoute, tcpRoute } from './waypoint/routes.ts';
import { fault, named, parsed, WireError } from './wire-error.ts';

export const waypointResourceTypeUrl = 'type.googleapis.com/aura.waypoint.v1.Resource';

type OfKind<K extends WaypointResourceKind> = Extract<WaypointResource, { readonly kind: K }>;

const schemas: { readonly [K in WaypointResourceKind]: GenericSchema<unknown, OfKind<K>> } = {
  'http-route': httpRoute,
  'tcp-route': tcpRoute,
  'destination-policy': destinationPolicy,
  'subset-members': subsetMembers,
  'http-policy': httpPolicy,
  'request-authentication': requestAuthentication,
  telemetry,
  provider,
  'waypoint-mesh': waypointMesh,
  'traffic-policy': trafficPolicy,
  extension,
};

const isKind = (kind: string): kind is WaypointResourceKind => Object.hasOwn(schemas, kind);

const isRange = (value: unknown): value is Cidr =>
  typeof value === 'object' && value !== null && (value as Cidr).base instanceof Uint8Array;

/** Ranges stand in JSON as text. */
const rangeAsText = (_key: string, value: unknown): unknown => (isRange(value) ? formatCidr(value) : value);

export function encodeWaypointResource(resource: WaypointResource): Uint8Array {
  const { kind } = resource;
  // The only kind that holds ranges; for the others the plain path is several times as fast.
  const body = kind === 'http-policy' ? JSON.stringify(resource, rangeAsText) : JSON.stringify(resource);
  return toBinary(ResourceSchema, create(ResourceSchema, { kind, body }));
}

function bodyOf(text: string): unknown {
  return parsed('JSON document (body)', () => JSON.parse(text) as unknown);
}

function nameOf(body: unknown): string {
  if (typeof body !== 'object' || body === null) return '';
  const { name } = body as { readonly name?: unknown };
  return typeof name === 'string' ? name : '';
}

/** `rules[1].matches[0].path` */
function fieldOf(issue: BaseIssue<unknown>): string {
  let field = '';
  for (const { key } of issue.path ?? [])
    field += typeof key === 'number' ? `[${key}]` : field === '' ? String(key) : `.${String(key)}`;
  return field;
}

/** Throws WireError that names the resource and the field. Unknown fields are passed over. */
export function decodeWaypointResource(bytes: Uint8Array): WaypointResource {
  const { kind, body } = parsed('aura.waypoint.v1.Resource', () =>
    fromBinary(ResourceSchema, bytes, { readUnknownFields: false }),
  );
  if (!isKind(kind)) throw fault('kind', `unknown kind ${JSON.stringify(kind)}`);
  const value = named(kind, () => bodyOf(body));
  const resource = waypointResourceName({ kind, name: nameOf(value) });
  const result = safeParse<GenericSchema<unknown, WaypointResource>>(schemas[kind], value, {
    abortEarly: true,
  });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new WireError(resource, fieldOf(issue), issue.message);
}

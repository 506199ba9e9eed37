// Which required fields a built-in object lacks. Only what a client writes is looked at, not the status.
import { causeRequired, type Cause } from '../api-error.ts';
import { isObject, type Item, type Json } from '../json.ts';
import type { Schema } from './schema.ts';

/** Marked as required in the documents, but with a meaning when they are left out. */
const lenient: ReadonlySet<string> = new Set([
  'CoreV1Event.metadata',
  'EventsV1Event.eventTime',
  'ContainerPort.containerPort',
  'EndpointSlice.endpoints',
  'DeploymentSpec.selector',
  'ReplicaSetSpec.selector',
  'DaemonSetSpec.selector',
  'StatefulSetSpec.selector',
  'PodSpec.containers',
  'Container.name',
  'EnvVar.name',
  'VolumeMount.mountPath',
  'ServicePort.port',
  'ExecAction.command',
  'HTTPGetAction.port',
  'TCPSocketAction.port',
  'RoleRef.apiGroup',
  'PolicyRule.verbs',
  'OwnerReference.apiVersion',
  'OwnerReference.kind',
  'OwnerReference.name',
  'OwnerReference.uid',
  'CertificateSigningRequestSpec.request',
  'CertificateSigningRequestSpec.signerName',
  'NodeSpec.taints',
  'Taint.key',
  'Endpoints.subsets',
  'CronJobSpec.schedule',
]);

export function requiredCauses(item: Item, schema: Schema): Cause[] {
  const causes: Cause[] = [];
  for (const [key, field] of Object.entries(schema.properties ?? {})) {
    if (key === 'status' || key === 'metadata') continue;
    const value = item[key] as Json | undefined;
    if (value !== undefined) walk(value, field, key, causes);
    else if (isRequired(schema, key)) causes.push(causeRequired(key));
  }
  return causes;
}

const isRequired = (schema: Schema, key: string): boolean =>
  schema.required?.includes(key) === true && !lenient.has(`${schema.typeName}.${key}`);

function walk(value: Json, schema: Schema, path: string, causes: Cause[]): void {
  if (causes.length >= 20) return;
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) value.forEach((entry, i) => walk(entry, items, `${path}[${i}]`, causes));
    return;
  }
  if (!isObject(value)) return;
  if (schema.properties === undefined) {
    if (typeof schema.additionalProperties === 'object')
      for (const key of Object.keys(value))
        walk(value[key] as Json, schema.additionalProperties, `${path}[${key}]`, causes);
    return;
  }
  for (const key of schema.required ?? [])
    if (!Object.hasOwn(value, key) && isRequired(schema, key)) causes.push(causeRequired(`${path}.${key}`));
  for (const key of Object.keys(value)) {
    const field = Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    if (field !== undefined) walk(value[key] as Json, field, `${path}.${key}`, causes);
  }
}

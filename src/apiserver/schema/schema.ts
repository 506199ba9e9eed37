// The shape of objects, in the terms of OpenAPI v3 with Kubernetes' extensions, for built-in kinds and for custom
// resources alike: what decoding, defaults, patches, field ownership and the published documents all walk over.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Json } from '../json.ts';
import { atomicTypes, defaultsOf, listFacts, mapFacts } from './type-facts.ts';

export interface ValidationRule {
  rule: string;
  message?: string;
  messageExpression?: string;
  reason?: string;
  fieldPath?: string;
  optionalOldSelf?: boolean;
}

export interface Schema {
  /** Set on the built-in types; the published documents refer to them by it. */
  typeName?: string;
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  format?: string;
  description?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  required?: string[];
  nullable?: boolean;
  default?: Json;
  enum?: Json[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  minProperties?: number;
  maxProperties?: number;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  not?: Schema;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  'x-kubernetes-int-or-string'?: boolean;
  'x-kubernetes-embedded-resource'?: boolean;
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-map-type'?: 'atomic' | 'granular';
  'x-kubernetes-patch-strategy'?: string;
  'x-kubernetes-patch-merge-key'?: string;
  'x-kubernetes-validations'?: ValidationRule[];
}

const scalars: Readonly<Record<string, Schema>> = {
  s: { type: 'string' },
  i: { type: 'integer', format: 'int32' },
  l: { type: 'integer', format: 'int64' },
  n: { type: 'number', format: 'double' },
  b: { type: 'boolean' },
  t: { type: 'string', format: 'date-time', nullable: true },
  u: { type: 'string', format: 'date-time', nullable: true },
  y: { type: 'string', format: 'byte' },
  // Both take numbers too; the `format` is what tells decoding so.
  q: { type: 'string', format: 'quantity' },
  x: { type: 'string', format: 'int-or-string', 'x-kubernetes-int-or-string': true },
  o: { 'x-kubernetes-preserve-unknown-fields': true },
};

/** Older versions of kinds, whose models have the names of the newer ones. */
const olderTypes = [
  'HorizontalPodAutoscalerV1: apiVersion=s kind=s metadata=ObjectMeta spec=HorizontalPodAutoscalerSpecV1 status=HorizontalPodAutoscalerStatusV1',
  'HorizontalPodAutoscalerSpecV1: maxReplicas=i! minReplicas=i scaleTargetRef=CrossVersionObjectReference! targetCPUUtilizationPercentage=i',
  'HorizontalPodAutoscalerStatusV1: currentCPUUtilizationPercentage=i currentReplicas=i desiredReplicas=i lastScaleTime=t observedGeneration=l',
];

/** The built-in types by name, as `types.txt` and `type-facts.ts` describe them. Types refer to each other directly. */
export function loadBuiltinTypes(): ReadonlyMap<string, Schema> {
  const text = readFileSync(fileURLToPath(new URL('./types.txt', import.meta.url)), 'utf8');
  const lines = [...text.split('\n').filter((line) => line !== '' && !line.startsWith('#')), ...olderTypes];
  const types = new Map<string, Schema>();
  for (const line of lines) {
    const typeName = line.slice(0, line.indexOf(':'));
    types.set(typeName, { typeName, type: 'object' });
  }
  const parse = (shape: string): Schema => {
    if (shape.startsWith('[')) return { type: 'array', items: parse(shape.slice(1, -1)) };
    if (shape.startsWith('{')) return { type: 'object', additionalProperties: parse(shape.slice(1, -1)) };
    const found = scalars[shape] ?? types.get(shape);
    if (found === undefined) throw new Error(`types.txt: no type "${shape}"`);
    return found;
  };
  const marked: [Record<string, Schema>, string, Partial<Schema>][] = [];
  for (const line of lines) {
    const colon = line.indexOf(':');
    const typeName = line.slice(0, colon);
    const type = types.get(typeName) as Schema;
    const fields = line.slice(colon + 1).trim();
    if (atomicTypes.has(typeName)) type['x-kubernetes-map-type'] = 'atomic';
    if (fields === '') {
      // No fields: free form (FieldsV1, RawExtension) or a union that is decoded by hand.
      type['x-kubernetes-preserve-unknown-fields'] = true;
      continue;
    }
    const properties: Record<string, Schema> = {};
    const required: string[] = [];
    for (const field of fields.split(' ')) {
      const equals = field.indexOf('=');
      const name = field.slice(0, equals);
      const must = field.endsWith('!');
      const schema = parse(must ? field.slice(equals + 1, -1) : field.slice(equals + 1));
      const path = `${typeName}.${name}`;
      const extra: Partial<Schema> = { ...listFacts[path], ...mapFacts[path] };
      const value = defaultsOf[typeName]?.[name];
      if (value !== undefined) extra.default = value;
      properties[name] = schema;
      if (Object.keys(extra).length > 0) marked.push([properties, name, extra]);
      if (must) required.push(name);
    }
    type.properties = properties;
    if (required.length > 0) type.required = required;
  }
  // Copies of types, so only when all of them have their fields.
  for (const [properties, name, extra] of marked) properties[name] = { ...properties[name], ...extra };
  return types;
}

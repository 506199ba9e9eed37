// Our schemas as the definitions of an OpenAPI document: named types by reference, each kind marked with its group,
// version and kind, which is what clients look them up by.
import { groupVersion, type Kind } from '../kinds/kind.ts';
import type { Registry } from '../kinds/registry.ts';
import type { Schema } from '../schema/schema.ts';

export type Dialect = 'v2' | 'v3';
export type Definition = Record<string, unknown>;

/** `com.example.stable.v1.CronTab` */
export function definitionName(kind: Kind): string {
  return `${kind.group.split('.').toReversed().join('.')}.${kind.version}.${kind.kind}`;
}

const typeName = (name: string): string => `io.k8s.api.${name}`;

const siblings = [
  'x-kubernetes-patch-strategy',
  'x-kubernetes-patch-merge-key',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-map-type',
  'default',
] as const;

export class SchemaWriter {
  readonly definitions: Record<string, Definition> = {};
  readonly #dialect: Dialect;
  readonly #prefix: string;
  readonly #types: ReadonlyMap<string, Schema>;

  constructor(dialect: Dialect, types: ReadonlyMap<string, Schema>) {
    this.#dialect = dialect;
    this.#types = types;
    this.#prefix = dialect === 'v2' ? '#/definitions/' : '#/components/schemas/';
  }

  /** Adds a kind and its list; gives the reference to the kind. */
  kind(kind: Kind): string {
    const gvk = [{ group: kind.group, kind: kind.kind, version: kind.version }];
    let name: string;
    if (kind.custom === undefined && kind.schema.typeName !== undefined) {
      name = typeName(kind.schema.typeName);
      this.#type(kind.schema.typeName);
    } else {
      name = definitionName(kind);
      this.definitions[name] = this.#schema(kind.schema, true);
    }
    const definition = this.definitions[name] as Definition;
    const known = (definition['x-kubernetes-group-version-kind'] ?? []) as unknown[];
    definition['x-kubernetes-group-version-kind'] = [...known, ...gvk];
    if (kind.verbs.length > 1) {
      this.definitions[`${name}List`] = {
        type: 'object',
        required: ['items'],
        properties: {
          apiVersion: { type: 'string' },
          items: { type: 'array', items: { $ref: this.#prefix + name } },
          kind: { type: 'string' },
          metadata: this.#reference('ListMeta'),
        },
        'x-kubernetes-group-version-kind': [
          { group: kind.group, kind: kind.listKind, version: kind.version },
        ],
      };
    }
    return this.#prefix + name;
  }

  #reference(name: string): Definition {
    this.#type(name);
    return { $ref: this.#prefix + typeName(name) };
  }

  #type(name: string): void {
    const full = typeName(name);
    if (this.definitions[full] !== undefined) return;
    const schema = this.#types.get(name);
    if (schema === undefined) return;
    // Before its fields: types may contain themselves.
    const definition: Definition = {};
    this.definitions[full] = definition;
    Object.assign(definition, this.#schema(schema, true));
  }

  #schema(schema: Schema, root = false): Definition {
    if (!root && schema.typeName !== undefined) {
      const reference = this.#reference(schema.typeName);
      const own = this.#types.get(schema.typeName);
      const extra: Definition = {};
      for (const key of siblings)
        if (schema[key] !== undefined && schema[key] !== own?.[key]) extra[key] = schema[key];
      if (Object.keys(extra).length === 0) return reference;
      return this.#dialect === 'v3' ? { allOf: [reference], ...extra } : { ...reference, ...extra };
    }
    const {
      typeName: _name,
      properties,
      additionalProperties,
      items,
      allOf,
      anyOf,
      oneOf,
      not,
      ...rest
    } = schema;
    const out: Definition = { ...rest };
    if (schema.format === 'quantity') {
      delete out['format'];
      if (this.#dialect === 'v3') {
        delete out['type'];
        out['oneOf'] = [{ type: 'string' }, { type: 'number' }];
      }
    }
    if (schema.format === 'int-or-string') {
      delete out['x-kubernetes-int-or-string'];
      if (this.#dialect === 'v3') {
        delete out['type'];
        out['oneOf'] = [{ type: 'integer' }, { type: 'string' }];
      }
    }
    if (properties !== undefined)
      out['properties'] = Object.fromEntries(
        Object.entries(properties).map(([key, field]) => [key, this.#schema(field)]),
      );
    if (items !== undefined) out['items'] = this.#schema(items);
    if (typeof additionalProperties === 'object')
      out['additionalProperties'] = this.#schema(additionalProperties);
    else if (additionalProperties !== undefined) out['additionalProperties'] = additionalProperties;
    if (this.#dialect === 'v3') {
      if (allOf !== undefined) out['allOf'] = allOf.map((part) => this.#schema(part));
      if (anyOf !== undefined) out['anyOf'] = anyOf.map((part) => this.#schema(part));
      if (oneOf !== undefined) out['oneOf'] = oneOf.map((part) => this.#schema(part));
      if (not !== undefined) out['not'] = this.#schema(not);
    } else {
      // What version 2 cannot say is left out: a client that checks by it must not refuse what the server takes.
      delete out['nullable'];
      delete out['default'];
      delete out['x-kubernetes-validations'];
      if (schema['x-kubernetes-preserve-unknown-fields'] === true && properties !== undefined && !root) {
        delete out['properties'];
        delete out['required'];
      }
      if (schema['x-kubernetes-int-or-string'] === true && schema.type === undefined) {
        delete out['x-kubernetes-int-or-string'];
        out['type'] = 'string';
        out['format'] = 'int-or-string';
      }
    }
    return out;
  }
}

const queryParameter = (name: string): Definition => ({
  name,
  in: 'query',
  schema: { type: 'string' },
  uniqueItems: true,
});

/** Paths with what clients look for: which kinds, which patches, whether the server validates fields. */
export function pathsOf(
  registry: Registry,
  apiVersion: string,
  dialect: Dialect,
  reference: (kind: Kind) => string,
): Record<string, unknown> {
  const paths: Record<string, unknown> = {};
  const parameter = (name: string): Definition =>
    dialect === 'v3' ? queryParameter(name) : { name, in: 'query', type: 'string', uniqueItems: true };
  for (const kind of registry.inVersion(apiVersion)) {
    const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${groupVersion(kind)}`;
    const collection = `${root}${kind.namespaced ? '/namespaces/{namespace}' : ''}/${kind.plural}`;
    const gvk = { group: kind.group, kind: kind.kind, version: kind.version };
    const ref = { $ref: reference(kind) };
    const answer = (type: Definition): Definition =>
      dialect === 'v3'
        ? { 200: { description: 'OK', content: { 'application/json': { schema: type } } } }
        : { 200: { description: 'OK', schema: type } };
    const operation = (
      action: string,
      body: Definition | undefined,
      types: readonly string[],
      parameters: readonly string[],
    ): Definition => ({
      operationId: `${action}${kind.namespaced ? 'Namespaced' : ''}${definitionName(kind).replaceAll('.', '_')}`,
      responses: answer(ref),
      parameters: [
        ...parameters.map(parameter),
        ...(body !== undefined && dialect === 'v2'
          ? [{ name: 'body', in: 'body', required: true, schema: body }]
          : []),
      ],
      ...(body === undefined
        ? {}
        : dialect === 'v3'
          ? {
              requestBody: {
                content: Object.fromEntries(types.map((type) => [type, { schema: body }])),
                required: true,
              },
            }
          : { consumes: types }),
      'x-kubernetes-action': action,
      'x-kubernetes-group-version-kind': gvk,
    });
    const write = ['pretty', 'dryRun', 'fieldManager', 'fieldValidation'];
    const create = operation('post', ref, ['*/*'], write);
    if (kind.verbs.length === 1) {
      paths[collection] = { post: create };
      continue;
    }
    const list = [
      'labelSelector',
      'fieldSelector',
      'limit',
      'continue',
      'resourceVersion',
      'resourceVersionMatch',
      'watch',
      'timeoutSeconds',
      'allowWatchBookmarks',
      'sendInitialEvents',
    ];
    paths[collection] = {
      get: { ...operation('list', undefined, [], list), responses: answer({ $ref: `${ref.$ref}List` }) },
      post: create,
      delete: operation('deletecollection', undefined, [], list),
    };
    const patches = [
      'application/apply-patch+yaml',
      'application/json-patch+json',
      'application/merge-patch+json',
      ...(kind.custom === undefined ? ['application/strategic-merge-patch+json'] : []),
    ];
    const item = {
      get: operation('get', undefined, [], ['pretty']),
      put: operation('put', ref, ['*/*'], write),
      patch: operation('patch', { type: 'object' }, patches, [...write, 'force']),
      delete: operation('delete', undefined, [], ['dryRun', 'gracePeriodSeconds', 'propagationPolicy']),
    };
    paths[`${collection}/{name}`] = item;
    if (kind.subresources.has('status'))
      paths[`${collection}/{name}/status`] = { get: item.get, put: item.put, patch: item.patch };
  }
  return paths;
}

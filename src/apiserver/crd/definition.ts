// One CustomResourceDefinition: is it sound, and which kinds does it make.
import { causeDuplicate, causeInvalid, causeNotSupported, causeRequired, type Cause } from '../api-error.ts';
import { dig, digList, digText, isObject, type Item, type Json, type JsonObject } from '../json.ts';
import { allVerbs, type Column, type Kind } from '../kinds/kind.ts';
import { isDnsLabel, isDnsSubdomain } from '../kinds/metadata.ts';
import { formatAge } from '../print/age.ts';
import type { Schema } from '../schema/schema.ts';
import { compileRule, runRules } from './cel.ts';
import { evaluateJsonPath, parseJsonPath } from './json-path.ts';
import { validateItem } from './validate.ts';

export function definitionCauses(item: Item, old: Item | undefined): Cause[] {
  const { spec } = item;
  const causes: Cause[] = [];
  const group = digText(spec, 'group');
  const names = dig(spec, 'names');
  const plural = digText(names, 'plural');
  if (!isDnsSubdomain(group) || !group.includes('.'))
    causes.push(causeInvalid('spec.group', group, 'should be a domain with at least one dot'));
  if (!isDnsLabel(plural))
    causes.push(
      causeInvalid(
        'spec.names.plural',
        plural,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-'",
      ),
    );
  if (digText(names, 'kind') === '') causes.push(causeRequired('spec.names.kind'));
  if (item.metadata.name !== `${plural}.${group}`)
    causes.push(
      causeInvalid('metadata.name', item.metadata.name, `must be spec.names.plural+"."+spec.group`),
    );
  const scope = digText(spec, 'scope');
  if (scope !== 'Namespaced' && scope !== 'Cluster')
    causes.push(causeNotSupported('spec.scope', scope, ['Cluster', 'Namespaced']));
  const versions = digList(spec, 'versions').filter(isObject);
  if (versions.length === 0) causes.push(causeRequired('spec.versions', 'must have at least one version'));
  if (versions.filter((version) => version['storage'] === true).length !== 1)
    causes.push(
      causeInvalid(
        'spec.versions',
        versions.map((version) => version['name'] ?? ''),
        'must have exactly one version marked as storage version',
      ),
    );
  const seen = new Set<string>();
  versions.forEach((version, i) => {
    const at = `spec.versions[${i}]`;
    const name = digText(version, 'name');
    if (!isDnsLabel(name)) causes.push(causeInvalid(`${at}.name`, name, 'must be a DNS label'));
    if (seen.has(name)) causes.push(causeDuplicate(`${at}.name`, name));
    seen.add(name);
    const schema = dig(version, 'schema', 'openAPIV3Schema');
    if (!isObject(schema)) causes.push(causeRequired(`${at}.schema.openAPIV3Schema`, 'schemas are required'));
    else {
      if (schema['type'] !== 'object')
        causes.push(
          causeInvalid(
            `${at}.schema.openAPIV3Schema.type`,
            schema['type'] ?? '',
            'must be object at the root',
          ),
        );
      schemaCauses(schema, `${at}.schema.openAPIV3Schema`, causes, 0);
    }
    digList(version, 'additionalPrinterColumns').forEach((column, j) => {
      if (parseJsonPath(digText(column, 'jsonPath')) === undefined)
        causes.push(
          causeInvalid(
            `${at}.additionalPrinterColumns[${j}].jsonPath`,
            digText(column, 'jsonPath'),
            'is not a JSON path that is understood',
          ),
        );
    });
  });
  if (old !== undefined && digText(old.spec, 'scope') !== scope)
    causes.push(causeInvalid('spec.scope', scope, 'field is immutable'));
  if (old !== undefined && digText(old.spec, 'group') !== group)
    causes.push(causeInvalid('spec.group', group, 'field is immutable'));
  return causes;
}

/** Only structural schemas are taken: each part has a type, and says what may be in it. */
function schemaCauses(schema: JsonObject, path: string, causes: Cause[], depth: number): void {
  if (causes.length > 20 || depth > 60) return;
  const any =
    schema['x-kubernetes-preserve-unknown-fields'] === true || schema['x-kubernetes-int-or-string'] === true;
  if (schema['type'] === undefined && !any)
    causes.push(causeRequired(`${path}.type`, 'must not be empty for specified object fields'));
  if (schema['$ref'] !== undefined)
    causes.push(causeInvalid(`${path}.$ref`, schema['$ref'], 'is not supported'));
  if (isObject(schema['properties']) && isObject(schema['additionalProperties']))
    causes.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: additionalProperties and properties are mutual exclusive',
      field: `${path}.additionalProperties`,
    });
  if (typeof schema['pattern'] === 'string') {
    try {
      new RegExp(schema['pattern']);
    } catch (error) {
      causes.push(causeInvalid(`${path}.pattern`, schema['pattern'], String(error)));
    }
  }
  digList(schema, 'x-kubernetes-validations').forEach((rule, i) => {
    try {
      compileRule(digText(rule, 'rule'));
    } catch (error) {
      causes.push(
        causeInvalid(
          `${path}.x-kubernetes-validations[${i}].rule`,
          digText(rule, 'rule'),
          `compilation failed: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`,
        ),
      );
    }
  });
  if (isObject(schema['properties']))
    for (const [key, field] of Object.entries(schema['properties']))
      if (isObject(field)) schemaCauses(field, `${path}.properties[${key}]`, causes, depth + 1);
  if (isObject(schema['items'])) schemaCauses(schema['items'], `${path}.items`, causes, depth + 1);
  if (isObject(schema['additionalProperties']))
    schemaCauses(schema['additionalProperties'], `${path}.additionalProperties`, causes, depth + 1);
}

function columnsOf(version: JsonObject): Column[] {
  const columns: Column[] = [
    { name: 'Name', type: 'string', format: 'name', value: (item) => item.metadata.name },
  ];
  const declared = digList(version, 'additionalPrinterColumns');
  const entries: Json[] =
    declared.length > 0 ? declared : [{ name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }];
  for (const entry of entries) {
    const steps = parseJsonPath(digText(entry, 'jsonPath'));
    if (steps === undefined) continue;
    const type = digText(entry, 'type');
    const priority = isObject(entry) && typeof entry['priority'] === 'number' ? entry['priority'] : 0;
    columns.push({
      name: digText(entry, 'name'),
      type,
      format: digText(entry, 'format'),
      description: digText(entry, 'description'),
      ...(priority === 0 ? {} : { priority }),
      value(item, now) {
        const found = evaluateJsonPath(steps, item as unknown as Json);
        const first = found[0];
        if (first === undefined || first === null) return null;
        switch (type) {
          case 'date':
            return typeof first === 'string' ? formatAge(first, now) : '<invalid>';
          case 'integer':
          case 'number':
            return typeof first === 'number' ? first : null;
          case 'boolean':
            return typeof first === 'boolean' ? first : null;
          default:
            if (found.length > 1) return found.map(text).join(',');
            return text(first);
        }
      },
    });
  }
  return columns;
}

const text = (value: Json): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** The kinds of a definition, one for each version that is served. */
export function kindsOf(item: Item, metadataSchema: Schema): Kind[] {
  const { spec } = item;
  const group = digText(spec, 'group');
  const names = dig(spec, 'names');
  const plural = digText(names, 'plural');
  const versions = digList(spec, 'versions').filter(isObject);
  const storage = versions.find((version) => version['storage'] === true);
  const kindName = digText(names, 'kind');
  const strings = (key: string): string[] => digList(names, key).map(String);
  return versions
    .filter((version) => version['served'] === true)
    .map((version): Kind => {
      const declared = (dig(version, 'schema', 'openAPIV3Schema') ?? { type: 'object' }) as unknown as Schema;
      const schema: Schema = {
        ...declared,
        properties: {
          ...declared.properties,
          apiVersion: { type: 'string' },
          kind: { type: 'string' },
          metadata: metadataSchema,
        },
      };
      const sub = new Set<string>();
      if (isObject(dig(version, 'subresources', 'status'))) sub.add('status');
      const scale = dig(version, 'subresources', 'scale');
      if (isObject(scale)) sub.add('scale');
      const selector = digText(scale, 'labelSelectorPath');
      const selectable = digList(version, 'selectableFields')
        .map((field) => digText(field, 'jsonPath'))
        .flatMap((path) => {
          const steps = parseJsonPath(path);
          return steps === undefined ? [] : [{ path: path.replace(/^\./, ''), steps }];
        });
      return {
        group,
        version: digText(version, 'name'),
        plural,
        singular: digText(names, 'singular') || kindName.toLowerCase(),
        kind: kindName,
        listKind: digText(names, 'listKind') || `${kindName}List`,
        namespaced: digText(spec, 'scope') === 'Namespaced',
        shortNames: strings('shortNames'),
        categories: strings('categories'),
        verbs: allVerbs,
        collection: `${plural}.${group}`,
        storageApiVersion: `${group}/${digText(storage, 'name')}`,
        schema,
        subresources: sub,
        rules:
          selectable.length === 0
            ? {}
            : {
                selectablePaths: selectable.map(({ path }) => path),
                selectable: (object: Item) =>
                  Object.fromEntries(
                    selectable.map(({ path, steps }) => {
                      const [first] = evaluateJsonPath(steps, object as unknown as Json);
                      return [path, first === undefined || first === null ? '' : text(first)];
                    }),
                  ),
              },
        columns: columnsOf(version),
        ...(isObject(scale)
          ? {
              scale: {
                specReplicas: digText(scale, 'specReplicasPath'),
                statusReplicas: digText(scale, 'statusReplicasPath'),
                ...(selector === '' ? {} : { selector }),
              },
            }
          : {}),
        custom: {
          preserveUnknown:
            spec?.['preserveUnknownFields'] === true ||
            declared['x-kubernetes-preserve-unknown-fields'] === true,
          validate(object, old) {
            const causes = validateItem(object, schema, old);
            return causes.length > 0 ? causes : runRules(object, schema, old);
          },
        },
      };
    });
}

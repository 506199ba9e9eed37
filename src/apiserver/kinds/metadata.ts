// Checks of names, labels and the other metadata that all objects have.
import { causeForbidden, causeInvalid, causeRequired, type Cause } from '../api-error.ts';
import type { Item } from '../json.ts';

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const label1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const qualifiedName = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const labelValue = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

export const isDnsLabel = (text: string): boolean => text.length <= 63 && label.test(text);
export const isDnsSubdomain = (text: string): boolean => text.length <= 253 && subdomain.test(text);

const labelText =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

export function checkName(
  field: string,
  name: string,
  form: 'subdomain' | 'label' | 'label1035' | 'path',
): Cause[] {
  const max = form === 'subdomain' || form === 'path' ? 253 : 63;
  if (name.length > max) return [causeInvalid(field, name, `must be no more than ${max} characters`)];
  switch (form) {
    case 'label':
      return label.test(name) ? [] : [causeInvalid(field, name, labelText)];
    case 'label1035':
      return label1035.test(name)
        ? []
        : [
            causeInvalid(
              field,
              name,
              "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ),
          ];
    case 'path':
      return name === '.' || name === '..' || /[/%]/.test(name)
        ? [causeInvalid(field, name, `may not be '.' or '..', and may not contain '/' or '%'`)]
        : [];
    case 'subdomain':
      return subdomain.test(name)
        ? []
        : [
            causeInvalid(
              field,
              name,
              "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
          ];
  }
}

function checkQualifiedName(field: string, key: string): Cause[] {
  const slash = key.lastIndexOf('/');
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  const name = key.slice(slash + 1);
  if (prefix !== undefined && !isDnsSubdomain(prefix))
    return [causeInvalid(field, key, 'prefix part must be a lowercase RFC 1123 subdomain')];
  if (name === '' || name.length > 63 || !qualifiedName.test(name))
    return [
      causeInvalid(
        field,
        key,
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
      ),
    ];
  return [];
}

export function checkLabels(field: string, labels: Readonly<Record<string, string>> | undefined): Cause[] {
  const causes: Cause[] = [];
  for (const [key, value] of Object.entries(labels ?? {})) {
    causes.push(...checkQualifiedName(field, key));
    if (typeof value !== 'string' || value.length > 63 || !labelValue.test(value))
      causes.push(
        causeInvalid(
          field,
          value,
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
      );
    if (causes.length > 20) break;
  }
  return causes;
}

const maxAnnotations = 256 * 1024;

export function checkMetadata(
  item: Item,
  old: Item | undefined,
  form: 'subdomain' | 'label' | 'label1035' | 'path',
): Cause[] {
  const { metadata } = item;
  const causes: Cause[] = [];
  if (old === undefined) causes.push(...checkName('metadata.name', metadata.name, form));
  causes.push(...checkLabels('metadata.labels', metadata.labels));
  let size = 0;
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    size += key.length + Buffer.byteLength(String(value));
    if (causes.length < 20) causes.push(...checkQualifiedName('metadata.annotations', key.toLowerCase()));
  }
  if (size > maxAnnotations)
    causes.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${maxAnnotations} bytes`,
      field: 'metadata.annotations',
    });
  let controllers = 0;
  metadata.ownerReferences?.forEach((owner, i) => {
    const field = `metadata.ownerReferences[${i}]`;
    for (const key of ['apiVersion', 'kind', 'name', 'uid'] as const)
      if (typeof owner[key] !== 'string' || owner[key] === '')
        causes.push(causeRequired(`${field}.${key}`, 'must not be empty'));
    if (owner.controller === true && ++controllers > 1)
      causes.push(
        causeInvalid(
          'metadata.ownerReferences',
          owner.name,
          'Only one reference can have Controller set to true',
        ),
      );
  });
  for (const finalizer of metadata.finalizers ?? [])
    causes.push(...checkQualifiedName('metadata.finalizers', String(finalizer)));
  if (old?.metadata.deletionTimestamp !== undefined) {
    const before = new Set(old.metadata.finalizers ?? []);
    const added = (metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
    if (added.length > 0)
      causes.push(
        causeForbidden(
          'metadata.finalizers',
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((f) => JSON.stringify(f)).join(', ')}}`,
        ),
      );
  }
  return causes;
}

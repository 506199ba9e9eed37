// Paths of the Kubernetes API.
import type { KubeObject } from './objects.ts';
import type { Resource } from './resources.ts';

export const segment = encodeURIComponent;

/** `/apis/group/version/namespaces/ns/plural/name/subresource` */
export function resourcePath(
  resource: Resource<KubeObject>,
  namespace: string | undefined,
  name?: string,
  subresource?: string,
): string {
  const root = resource.group === '' ? '/api' : `/apis/${resource.group}`;
  const scope =
    resource.namespaced && namespace !== undefined && namespace !== ''
      ? `/namespaces/${segment(namespace)}`
      : '';
  const object = name === undefined ? '' : `/${segment(name)}`;
  return `${root}/${resource.version}${scope}/${resource.plural}${object}${subresource === undefined ? '' : `/${subresource}`}`;
}

export function withQuery(
  path: string,
  query: Readonly<Record<string, string | number | undefined>>,
): string {
  const parts = Object.entries(query)
    .filter((entry): entry is [string, string | number] => entry[1] !== undefined && entry[1] !== '')
    .map(([key, value]) => `${key}=${segment(String(value))}`);
  return parts.length === 0 ? path : `${path}?${parts.join('&')}`;
}

/** An empty name would turn "this object" into "all objects of the kind". */
export function checkName(name: string): string {
  if (name === '' || name === '.' || name === '..' || name.includes('/'))
    throw new TypeError(`not an object's name: "${name}"`);
  return name;
}

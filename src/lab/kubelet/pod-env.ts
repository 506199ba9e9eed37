// The environment of a container: values, references to the pod's own fields, to ConfigMaps and to Secrets, and
// the expansion of $(NAME). Pure.
import type { ConfigMap, Container, EnvVar, Pod, Secret } from '#/kube/index.ts';

export interface EnvContext {
  readonly pod: Pod;
  readonly podIps: readonly string[];
  readonly hostIps: readonly string[];
  configMap(name: string): ConfigMap | undefined;
  secret(name: string): Secret | undefined;
  /** Cores and bytes of the node, for limits that are not set. */
  readonly capacity: { readonly cpu: number; readonly memory: number };
}

/** A reference that leads nowhere: the container waits until it does. `message` names container and variable. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

interface EnvFrom {
  readonly prefix?: string;
  readonly configMapRef?: { readonly name: string; readonly optional?: boolean };
  readonly secretRef?: { readonly name: string; readonly optional?: boolean };
}

const fromBase64 = (text: string): string => Buffer.from(text, 'base64').toString('utf8');

/** `$(NAME)` by earlier variables; `$$(NAME)` stays as `$(NAME)`; an unknown name stays as it is. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (whole, name: string | undefined) =>
    whole === '$$' ? '$' : (env[name ?? ''] ?? whole),
  );
}

/** A field of the pod, by the paths that the downward API knows. Throws ConfigError for others. */
export function podField(context: EnvContext, path: string): string {
  const { pod, podIps, hostIps } = context;
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['([^']*)'\]$/.exec(path);
  if (keyed !== null) return metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2] as string] ?? '';
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace ?? '';
    case 'metadata.uid':
      return metadata.uid ?? '';
    case 'metadata.labels':
    case 'metadata.annotations': {
      const map = (path === 'metadata.labels' ? metadata.labels : metadata.annotations) ?? {};
      return Object.entries(map)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join('\n');
    }
    case 'spec.nodeName':
      return spec.nodeName ?? '';
    case 'spec.serviceAccountName':
      return spec.serviceAccountName ?? 'default';
    case 'status.hostIP':
      return hostIps[0] ?? '';
    case 'status.hostIPs':
      return hostIps.join(',');
    case 'status.podIP':
      return podIps[0] ?? '';
    case 'status.podIPs':
      return podIps.join(',');
    default:
      throw new ConfigError(`fieldPath "${path}" is not one of the downward API's`);
  }
}

const units: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A Kubernetes quantity as a number; undefined if it is none. */
export function parseQuantity(text: string): number | undefined {
  const match = /^([0-9.]+)([a-zA-Z]*)$/.exec(text);
  const unit = match === null ? undefined : units[match[2] as string];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}

function resourceField(
  context: EnvContext,
  container: Container,
  reference: { readonly resource: string; readonly divisor?: string },
): string {
  const [kind = '', resource = ''] = reference.resource.split('.');
  if ((kind !== 'limits' && kind !== 'requests') || (resource !== 'cpu' && resource !== 'memory'))
    throw new ConfigError(`resource "${reference.resource}" is not one of the downward API's`);
  const set = (container.resources as Record<string, Record<string, string | number>> | undefined)?.[kind]?.[
    resource
  ];
  // Without a limit a container may use the whole node; without a request it asked for nothing.
  const value =
    set === undefined ? (kind === 'limits' ? context.capacity[resource] : 0) : parseQuantity(String(set));
  const divisor = parseQuantity(reference.divisor ?? '1') ?? 1;
  return String(Math.ceil((value ?? 0) / (divisor === 0 ? 1 : divisor)));
}

function referenced(context: EnvContext, container: Container, variable: EnvVar): string | undefined {
  const { valueFrom } = variable;
  if (valueFrom?.fieldRef !== undefined) return podField(context, valueFrom.fieldRef.fieldPath);
  if (valueFrom?.resourceFieldRef !== undefined)
    return resourceField(context, container, valueFrom.resourceFieldRef);
  if (valueFrom?.configMapKeyRef !== undefined) {
    const { name, key, optional } = valueFrom.configMapKeyRef;
    const value = context.configMap(name)?.data?.[key];
    if (value === undefined && optional !== true)
      throw new ConfigError(
        context.configMap(name) === undefined
          ? `configmap "${name}" not found`
          : `couldn't find key ${key} in ConfigMap ${context.pod.metadata.namespace}/${name}`,
      );
    return value;
  }
  if (valueFrom?.secretKeyRef !== undefined) {
    const { name, key, optional } = valueFrom.secretKeyRef;
    const value = context.secret(name)?.data?.[key];
    if (value === undefined && optional !== true)
      throw new ConfigError(
        context.secret(name) === undefined
          ? `secret "${name}" not found`
          : `couldn't find key ${key} in Secret ${context.pod.metadata.namespace}/${name}`,
      );
    return value === undefined ? undefined : fromBase64(value);
  }
  return undefined;
}

/** All variables of a container over `base`. Throws ConfigError. */
export function containerEnv(
  context: EnvContext,
  container: Container,
  base: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const env: Record<string, string> = { ...base };
  for (const source of (container as { envFrom?: readonly EnvFrom[] }).envFrom ?? []) {
    const prefix = source.prefix ?? '';
    if (source.configMapRef !== undefined) {
      const map = context.configMap(source.configMapRef.name);
      if (map === undefined && source.configMapRef.optional !== true)
        throw new ConfigError(`configmap "${source.configMapRef.name}" not found`);
      for (const [key, value] of Object.entries(map?.data ?? {})) env[prefix + key] = value;
    }
    if (source.secretRef !== undefined) {
      const secret = context.secret(source.secretRef.name);
      if (secret === undefined && source.secretRef.optional !== true)
        throw new ConfigError(`secret "${source.secretRef.name}" not found`);
      for (const [key, value] of Object.entries(secret?.data ?? {})) env[prefix + key] = fromBase64(value);
    }
  }
  for (const variable of container.env ?? []) {
    const value =
      variable.valueFrom === undefined
        ? expand(variable.value ?? '', env)
        : referenced(context, container, variable);
    if (value !== undefined) env[variable.name] = value;
  }
  return env;
}

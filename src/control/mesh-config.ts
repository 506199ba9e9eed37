// The mesh's own configuration: ConfigMap `istio`, key `mesh`, as far as the control plane reads it.
import { parse } from 'yaml';
import { errorText } from '#/errors/index.ts';
import type { ConfigMap } from '#/kube/index.ts';
import {
  readLabelSelector,
  type MeshSettings,
  type ServiceScope,
  type VisibilityPolicy,
} from '#/translate/index.ts';

export const meshConfigMap = 'istio';

type Json = Readonly<Record<string, unknown>>;

/** Read by translate, which tells what is wrong with a value by its name. */
const forWaypoints = [
  'accessLogEncoding',
  'accessLogFile',
  'accessLogFormat',
  'connectTimeout',
  'defaultConfig',
  'defaultHttpRetryPolicy',
  'defaultProviders',
  'extensionProviders',
  'hboneIdleTimeout',
  'trustDomainAliases',
] as const;

/** What the ConfigMap sets. Absent fields are not set there. */
export interface MeshConfig {
  readonly trustDomain?: string;
  readonly rootNamespace?: string;
  readonly serviceEntryVisibility?: readonly VisibilityPolicy[];
  readonly serviceScopes?: readonly ServiceScope[];
  /** The fields that waypoints are told of, as they stand there. */
  readonly meshConfig?: Json;
}

const object = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};

function visibility(value: unknown): readonly VisibilityPolicy[] {
  if (!Array.isArray(value)) throw new TypeError('serviceEntryVisibility is not a list of policies');
  return value.map((item: unknown, i) => {
    const policy = object(item);
    const wanted = policy['visibility'];
    if (wanted !== 'PUBLIC' && wanted !== 'NAMESPACE' && wanted !== 'NONE')
      throw new TypeError(
        `serviceEntryVisibility[${i}].visibility is ${JSON.stringify(wanted)}, not PUBLIC, NAMESPACE or NONE`,
      );
    const selector = policy['namespaceSelector'];
    return {
      visibility: wanted,
      ...(selector === undefined ? {} : { namespaceSelector: readLabelSelector(selector) }),
    };
  });
}

function scopes(value: unknown): readonly ServiceScope[] {
  if (!Array.isArray(value)) throw new TypeError('serviceScopeConfigs is not a list');
  return value.map((item: unknown, i) => {
    const { scope = 'LOCAL', servicesSelector, namespaceSelector } = object(item);
    if (scope !== 'GLOBAL' && scope !== 'LOCAL')
      throw new TypeError(`serviceScopeConfigs[${i}].scope is ${JSON.stringify(scope)}, not GLOBAL or LOCAL`);
    return {
      scope,
      ...(servicesSelector === undefined ? {} : { servicesSelector: readLabelSelector(servicesSelector) }),
      ...(namespaceSelector === undefined ? {} : { namespaceSelector: readLabelSelector(namespaceSelector) }),
    };
  });
}

/** Throws TypeError or a YAML error; the caller keeps what it has. */
export function parseMeshConfig(map: ConfigMap | undefined): MeshConfig {
  const text = map?.data?.['mesh'];
  if (text === undefined) return {};
  const mesh = object(parse(text, { maxAliasCount: 100 }));
  const { trustDomain, rootNamespace, serviceEntryVisibility, serviceScopeConfigs } = mesh;
  const meshConfig = Object.fromEntries(
    forWaypoints.filter((name) => mesh[name] !== undefined).map((name) => [name, mesh[name]]),
  );
  return {
    ...(typeof trustDomain === 'string' && trustDomain !== '' ? { trustDomain } : {}),
    ...(typeof rootNamespace === 'string' && rootNamespace !== '' ? { rootNamespace } : {}),
    ...(serviceEntryVisibility === undefined || serviceEntryVisibility === null
      ? {}
      : { serviceEntryVisibility: visibility(serviceEntryVisibility) }),
    ...(serviceScopeConfigs === undefined || serviceScopeConfigs === null
      ? {}
      : { serviceScopes: scopes(serviceScopeConfigs) }),
    ...(Object.keys(meshConfig).length === 0 ? {} : { meshConfig }),
  };
}

/** The settings with what the mesh says; what flags or environment have set is not overruled. */
export function withMeshConfig(
  settings: MeshSettings,
  mesh: MeshConfig,
  given: { readonly trustDomain: boolean; readonly rootNamespace: boolean },
): MeshSettings {
  const {
    serviceEntryVisibility: _visibility,
    serviceScopes: _scopes,
    meshConfig: _mesh,
    ...rest
  } = settings;
  return {
    ...rest,
    ...(given.trustDomain || mesh.trustDomain === undefined ? {} : { trustDomain: mesh.trustDomain }),
    ...(given.rootNamespace || mesh.rootNamespace === undefined ? {} : { rootNamespace: mesh.rootNamespace }),
    ...(mesh.serviceEntryVisibility === undefined
      ? {}
      : { serviceEntryVisibility: mesh.serviceEntryVisibility }),
    ...(mesh.meshConfig === undefined ? {} : { meshConfig: mesh.meshConfig }),
    ...(mesh.serviceScopes === undefined ? {} : { serviceScopes: mesh.serviceScopes }),
  };
}

/** The part of a change that can be taken while we run; `restart` names what cannot. */
export function liveChange(
  running: MeshSettings,
  next: MeshSettings,
): { readonly settings: MeshSettings; readonly restart: readonly string[] } {
  const restart = (['trustDomain', 'rootNamespace'] as const).filter((key) => running[key] !== next[key]);
  return {
    settings: { ...next, trustDomain: running.trustDomain, rootNamespace: running.rootNamespace },
    restart,
  };
}

export const describeMeshConfigError = (error: unknown): string =>
  `ConfigMap ${meshConfigMap}, key mesh: ${errorText(error)}; what was in force before stays`;

// Reads manifests and applies them, as `kubectl apply --server-side` does: strict about fields, and with errors that
// name the file, the document and the object.
import { readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import {
  defineResource,
  KubeError,
  type DynamicObject,
  type KubeClient,
  type Resource,
} from '#/kube/index.ts';
import { errorText } from '#/errors/index.ts';
import type { Manifest } from './manifests.ts';

export interface SourcedManifest {
  readonly manifest: Manifest;
  /** `file.yaml, document 2: Service ambient-demo/httpbin`, for errors. */
  readonly title: string;
}

/** One or more of them could not be used; `message` has a line per object. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError';
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function check(value: unknown, where: string): SourcedManifest {
  if (!isRecord(value)) throw new ManifestError(`${where}: not an object`);
  const { apiVersion, kind, metadata } = value;
  if (typeof kind !== 'string' || kind === '') throw new ManifestError(`${where}: it has no kind`);
  if (typeof apiVersion !== 'string' || apiVersion === '')
    throw new ManifestError(`${where}: ${kind} has no apiVersion`);
  if (!isRecord(metadata) || typeof metadata['name'] !== 'string' || metadata['name'] === '')
    throw new ManifestError(`${where}: ${kind} has no metadata.name`);
  const { namespace, name } = metadata;
  const full = typeof namespace === 'string' ? `${namespace}/${name}` : name;
  return { manifest: value as unknown as Manifest, title: `${where}: ${kind} ${full}` };
}

/** All objects of a YAML or JSON text; lists are unfolded. Throws ManifestError. */
export function parseManifests(text: string, file: string): SourcedManifest[] {
  const out: SourcedManifest[] = [];
  parseAllDocuments(text).forEach((document, i) => {
    const where = `${file}, document ${i + 1}`;
    const [problem] = document.errors;
    if (problem !== undefined) throw new ManifestError(`${where}: ${problem.message}`);
    const value: unknown = document.toJS();
    if (value === null || value === undefined) return;
    if (isRecord(value) && value['kind'] === 'List' && Array.isArray(value['items']))
      value['items'].forEach((item: unknown, j) => out.push(check(item, `${where}, item ${j + 1}`)));
    else out.push(check(value, where));
  });
  return out;
}

/** Throws ManifestError for a file that cannot be read. */
export function readManifests(files: readonly string[]): SourcedManifest[] {
  return files.flatMap((file) => {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw new ManifestError(`${file}: ${errorText(error)}`, { cause: error });
    }
    return parseManifests(text, file);
  });
}

interface ApiResource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** Finds how the API serves a kind, by its discovery documents. */
export class KindFinder {
  readonly #client: KubeClient;
  readonly #known = new Map<string, readonly ApiResource[]>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  async find(apiVersion: string, kind: string): Promise<Resource> {
    for (const fresh of [false, true]) {
      if (fresh || !this.#known.has(apiVersion)) this.#known.set(apiVersion, await this.#load(apiVersion));
      const found = this.#known
        .get(apiVersion)
        ?.find((resource) => resource.kind === kind && !resource.name.includes('/'));
      if (found !== undefined)
        return defineResource(apiVersion, found.name, kind, found.namespaced ? 'namespaced' : 'cluster');
    }
    throw new Error(
      `the API has no kind "${kind}" in "${apiVersion}": check the spelling, or apply its CustomResourceDefinition first`,
    );
  }

  async #load(apiVersion: string): Promise<readonly ApiResource[]> {
    const path = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    try {
      const list = await this.#client.request<DynamicObject & { resources?: readonly ApiResource[] }>(
        'GET',
        path,
      );
      return list.resources ?? [];
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return [];
      throw error;
    }
  }
}

const early = new Map([
  ['CustomResourceDefinition', 0],
  ['Namespace', 1],
]);

/**
 * Applies all; an object that is refused does not keep the others back. Gives the applied objects; throws
 * ManifestError with a line per refusal at the end.
 */
export async function applyManifests(
  client: KubeClient,
  manifests: readonly SourcedManifest[],
  manager: string,
  onApplied: (title: string) => void = () => {},
): Promise<DynamicObject[]> {
  const finder = new KindFinder(client);
  const applied: DynamicObject[] = [];
  const refused: string[] = [];
  const rank = ({ manifest }: SourcedManifest): number => early.get(manifest.kind) ?? 2;
  const ordered = [...manifests].sort((a, b) => rank(a) - rank(b));
  for (const { manifest, title } of ordered) {
    try {
      const resource = await finder.find(manifest.apiVersion, manifest.kind);
      const namespace = resource.namespaced ? (manifest.metadata.namespace ?? client.namespace) : undefined;
      applied.push(
        await client.patch(resource, namespace, manifest.metadata.name, manifest, 'apply', {
          fieldManager: manager,
          force: true,
          fieldValidation: 'Strict',
        }),
      );
      onApplied(title);
    } catch (error) {
      refused.push(`${title}: ${errorText(error)}`);
    }
  }
  if (refused.length > 0) throw new ManifestError(refused.join('\n'));
  return applied;
}

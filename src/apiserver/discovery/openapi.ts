// The documents that describe all kinds: /openapi/v3, one for each group version, and /openapi/v2, one for all, as
// JSON or as the protobuf that kubectl reads. Made when somebody asks, kept until the kinds change.
import { createHash } from 'node:crypto';
import { noSuchPath, notAcceptable } from '../api-error.ts';
import { send, type Call } from '../serving/call.ts';
import { parseAccept } from '../serving/media.ts';
import { groupVersion, type Kind } from '../kinds/kind.ts';
import type { Registry } from '../kinds/registry.ts';
import type { Schema } from '../schema/schema.ts';
import { serverVersion } from './discovery.ts';
import { encodeOpenApiV2 } from './openapi-protobuf.ts';
import { pathsOf, SchemaWriter, type Dialect } from './openapi-schemas.ts';

const info = { title: 'Kubernetes', version: serverVersion.gitVersion };
/** Clients ask with an at sign, which Go's parser of media types refuses in the answer. */
const v2Protobuf = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';
const v2ProtobufAsked = new Set([v2Protobuf, 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf']);

export class OpenApi {
  readonly #registry: Registry;
  readonly #types: ReadonlyMap<string, Schema>;
  #revision = -1;
  #cache = new Map<string, string | Buffer>();

  constructor(registry: Registry, types: ReadonlyMap<string, Schema>) {
    this.#registry = registry;
    this.#types = types;
  }

  handle(call: Call, parts: readonly string[]): void {
    if (this.#revision !== this.#registry.revision) {
      this.#cache.clear();
      this.#revision = this.#registry.revision;
    }
    if (parts[1] === 'v2' && parts.length === 2) {
      this.#v2(call);
      return;
    }
    if (parts[1] !== 'v3') throw noSuchPath();
    if (parts.length === 2) {
      send(call.response, 200, `${this.#index()}\n`);
      return;
    }
    const apiVersion = this.#apiVersion(parts.slice(2));
    if (apiVersion === undefined) throw noSuchPath();
    const accepted = parseAccept(call.request.headers.accept);
    if (
      accepted.length > 0 &&
      !accepted.some(({ type }) => type === 'application/json' || type === '*/*' || type === 'application/*')
    )
      throw notAcceptable('application/json');
    const text = this.#document(apiVersion);
    const etag = `"${digest(text)}"`;
    call.response.setHeader('etag', etag);
    if (call.request.headers['if-none-match'] === etag) {
      call.response.writeHead(304);
      call.response.end();
      return;
    }
    send(call.response, 200, text);
  }

  #apiVersion(parts: readonly string[]): string | undefined {
    const [root, first, second] = parts;
    if (root === 'api' && first === 'v1' && parts.length === 2) return 'v1';
    if (root === 'apis' && parts.length === 3 && this.#registry.hasVersion(first as string, second as string))
      return `${first}/${second}`;
    return undefined;
  }

  #versions(): string[] {
    return [...new Set([...this.#registry.all()].map(groupVersion))];
  }

  #index(): string {
    return this.#cached('index', () => {
      const paths: Record<string, { serverRelativeURL: string }> = {};
      for (const apiVersion of this.#versions()) {
        const path = apiVersion.includes('/') ? `apis/${apiVersion}` : `api/${apiVersion}`;
        // The hash lets clients keep a document for ever; the kinds' shapes are all it depends on.
        const hash = digest(JSON.stringify(this.#shapes(apiVersion)));
        paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
      }
      return JSON.stringify({ paths });
    });
  }

  #shapes(apiVersion: string): unknown {
    return this.#registry
      .inVersion(apiVersion)
      .map((kind) => [kind.plural, kind.custom === undefined ? serverVersion.gitVersion : kind.schema]);
  }

  #document(apiVersion: string): string {
    return this.#cached(`v3 ${apiVersion}`, () => {
      const { definitions, paths } = this.#parts('v3', [apiVersion]);
      return JSON.stringify({ openapi: '3.0.0', info, paths, components: { schemas: definitions } });
    });
  }

  #parts(
    dialect: Dialect,
    versions: readonly string[],
  ): { definitions: unknown; paths: Record<string, unknown> } {
    const writer = new SchemaWriter(dialect, this.#types);
    const references = new Map<Kind, string>();
    const paths: Record<string, unknown> = {};
    for (const apiVersion of versions) {
      for (const kind of this.#registry.inVersion(apiVersion)) references.set(kind, writer.kind(kind));
      Object.assign(
        paths,
        pathsOf(this.#registry, apiVersion, dialect, (kind) => references.get(kind) as string),
      );
    }
    return { definitions: writer.definitions, paths };
  }

  #v2(call: Call): void {
    const document = (): Record<string, unknown> => {
      const { definitions, paths } = this.#parts('v2', this.#versions());
      return { swagger: '2.0', info, paths, definitions };
    };
    for (const { type } of parseAccept(call.request.headers.accept)) {
      if (v2ProtobufAsked.has(type)) {
        const bytes = this.#cached('v2 protobuf', () => encodeOpenApiV2(document()));
        call.response.writeHead(200, { 'content-type': v2Protobuf, 'content-length': bytes.length });
        call.response.end(bytes);
        return;
      }
      if (type === 'application/json' || type === '*/*' || type === 'application/*') break;
    }
    send(
      call.response,
      200,
      this.#cached('v2 json', () => JSON.stringify(document())),
    );
  }

  #cached<T extends string | Buffer>(key: string, make: () => T): T {
    let found = this.#cache.get(key) as T | undefined;
    if (found === undefined) this.#cache.set(key, (found = make()));
    return found;
  }
}

const digest = (text: string): string =>
  createHash('sha256').update(text).digest('hex').slice(0, 40).toUpperCase();

// Server-side apply.
import { ApiError } from '../api-error.ts';
import type { JsonObject } from '../json.ts';
import type { Store } from '../store/store.ts';
import type { WriteRequest, Writer, Written } from '../verbs/write.ts';

export interface Applier {
  readonly writer: Writer;
  readonly store: Store;
  readonly request: WriteRequest;
  readonly name: string;
  readonly subresource: string;
  readonly force: boolean;
}

export function applyPatch(_applier: Applier, _body: JsonObject): Promise<Written> {
  throw new ApiError(415, 'UnsupportedMediaType', 'server-side apply is not there yet');
}

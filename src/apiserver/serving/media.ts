// Which form of an answer a client wants: JSON or YAML, the object itself, a table, or only its metadata.
import { notAcceptable } from '../api-error.ts';

export type Form =
  | { readonly as: 'object'; readonly type: 'json' | 'yaml' }
  | { readonly as: 'table'; readonly version: 'v1' | 'v1beta1' }
  | { readonly as: 'metadata'; readonly version: 'v1' | 'v1beta1' };

export interface MediaRange {
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export function parseAccept(header: string | undefined): MediaRange[] {
  const out: (MediaRange & { q: number })[] = [];
  for (const part of (header ?? '').slice(0, 4096).split(',')) {
    const [type = '', ...rest] = part.split(';').map((piece) => piece.trim());
    if (type === '') continue;
    const parameters: Record<string, string> = {};
    for (const piece of rest) {
      const equals = piece.indexOf('=');
      if (equals > 0)
        parameters[piece.slice(0, equals).toLowerCase()] = piece.slice(equals + 1).replace(/^"|"$/g, '');
    }
    const q = parameters['q'] === undefined ? 1 : Number(parameters['q']);
    out.push({ type: type.toLowerCase(), parameters, q: Number.isNaN(q) ? 1 : q });
  }
  return out.filter((range) => range.q > 0).sort((a, b) => b.q - a.q);
}

const offered = 'application/json, application/yaml';

/** The first form in the client's list that there is. Throws 406. */
export function negotiate(header: string | undefined, tables = true): Form {
  const ranges = parseAccept(header);
  if (ranges.length === 0) return { as: 'object', type: 'json' };
  for (const { type, parameters } of ranges) {
    const as = parameters['as'];
    const version = parameters['v'];
    if (type === 'application/json' && as !== undefined) {
      if (!tables || parameters['g'] !== 'meta.k8s.io' || (version !== 'v1' && version !== 'v1beta1'))
        continue;
      if (as === 'Table') return { as: 'table', version };
      if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList')
        return { as: 'metadata', version };
      continue;
    }
    if (as !== undefined) continue;
    if (type === 'application/json' || type === '*/*' || type === 'application/*')
      return { as: 'object', type: 'json' };
    if (type === 'application/yaml') return { as: 'object', type: 'yaml' };
  }
  throw notAcceptable(offered);
}

// get and list.
import { ApiError, badRequest, expired, notFound } from '../api-error.ts';
import { flag, send, type Call } from '../serving/call.ts';
import { negotiate, type Form } from '../serving/media.ts';
import { groupVersion, type Kind } from '../kinds/kind.ts';
import {
  columnDefinitions,
  formContentType,
  partialText,
  tableRow,
  viewText,
  type TableOptions,
} from '../print/view.ts';
import { keyOf, type Collection, type Stored } from '../store/collection.ts';
import {
  matches,
  matchesFields,
  parseFieldSelector,
  parseLabelSelector,
  type FieldRequirement,
  type Requirement,
} from '../store/selectors.ts';
import { snapshotAt } from '../store/snapshot.ts';
import type { Store } from '../store/store.ts';

export interface Selection {
  readonly namespace: string | undefined;
  readonly labels: readonly Requirement[];
  readonly fields: readonly FieldRequirement[];
}

export function selectionOf(call: Call, kind: Kind, namespace: string | undefined): Selection {
  const paths = new Set(kind.rules.selectablePaths ?? []);
  return {
    namespace,
    labels: parseLabelSelector(call.query.get('labelSelector') ?? ''),
    fields: parseFieldSelector(call.query.get('fieldSelector') ?? '', (path) => paths.has(path)),
  };
}

export function selected(stored: Stored, selection: Selection): boolean {
  return (
    (selection.namespace === undefined || stored.namespace === selection.namespace) &&
    (selection.labels.length === 0 || matches(selection.labels, stored.labels)) &&
    (selection.fields.length === 0 || matchesFields(selection.fields, stored))
  );
}

export function tableOptions(call: Call): TableOptions {
  const include = call.query.get('includeObject') ?? 'Metadata';
  if (include !== 'None' && include !== 'Metadata' && include !== 'Object')
    throw badRequest(
      `includeObject: Unsupported value: "${include}": supported values: "None", "Metadata", "Object"`,
    );
  return { include, now: Date.now() };
}

const pretty = (call: Call): boolean => flag(call.query, 'pretty');

/** The answer with one object. */
export async function sendObject(call: Call, code: number, kind: Kind, stored: Stored): Promise<void> {
  const form = negotiate(call.request.headers.accept);
  let text: string;
  switch (form.as) {
    case 'object':
      text = viewText(kind, stored);
      if (form.type === 'yaml') text = await toYaml(text);
      else if (pretty(call)) text = JSON.stringify(JSON.parse(text), null, 2);
      break;
    case 'table':
      text = JSON.stringify({
        kind: 'Table',
        apiVersion: `meta.k8s.io/${form.version}`,
        metadata: { resourceVersion: String(stored.rv) },
        columnDefinitions: columnDefinitions(kind),
        rows: [tableRow(kind, stored, form.version, tableOptions(call))],
      });
      break;
    case 'metadata':
      text = partialText(kind, stored, form.version);
      break;
  }
  send(call.response, code, `${text}\n`, formContentType(form));
}

export async function toYaml(json: string): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(JSON.parse(json));
}

export async function handleGet(
  call: Call,
  kind: Kind,
  store: Store,
  namespace: string,
  name: string,
): Promise<void> {
  const stored = store.collection(kind.collection).get(namespace, name);
  if (stored === undefined) throw notFound(kind, name);
  const wanted = call.query.get('resourceVersion');
  if (wanted !== null && wanted !== '' && wanted !== '0') checkNotAhead(parseVersion(wanted), store.revision);
  await sendObject(call, 200, kind, stored);
}

export function parseVersion(text: string): number {
  if (!/^[0-9]{1,16}$/.test(text))
    throw badRequest(`resourceVersion: Invalid value: ${JSON.stringify(text)}: must be a number`);
  return Number(text);
}

/** A version from the future: of another data directory, or from before ours was restored. */
export function checkNotAhead(wanted: number, current: number): void {
  if (wanted <= current) return;
  throw new ApiError(504, 'Timeout', `Timeout: Too large resource version: ${wanted}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version', field: '' }],
    retryAfterSeconds: 1,
  });
}

interface ContinueToken {
  /** The revision of the first page. */
  readonly rv: number;
  /** The key of the last object that was given. */
  readonly after: string;
}

function encodeContinue(token: ContinueToken): string {
  return Buffer.from(JSON.stringify(token)).toString('base64url');
}

function decodeContinue(text: string): ContinueToken {
  try {
    const token = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Partial<ContinueToken>;
    if (typeof token.rv === 'number' && typeof token.after === 'string')
      return { rv: token.rv, after: token.after };
  } catch {
    // Reported below.
  }
  throw badRequest('continue key is not valid: it is not one that this server has given');
}

export interface Page {
  readonly items: readonly Stored[];
  readonly rv: number;
  readonly next: string | undefined;
  readonly remaining: number | undefined;
}

/** Throws 400 for parameters that exclude each other, 410 for a version that is forgotten. */
export function listPage(call: Call, collection: Collection, store: Store, selection: Selection): Page {
  const limitText = call.query.get('limit') ?? '';
  const limit = limitText === '' ? 0 : Number(limitText);
  if (!Number.isInteger(limit) || limit < 0) throw badRequest(`limit: Invalid value: "${limitText}"`);
  const continued = call.query.get('continue') ?? '';
  const version = call.query.get('resourceVersion') ?? '';
  const match = call.query.get('resourceVersionMatch') ?? '';
  if (match !== '' && match !== 'Exact' && match !== 'NotOlderThan')
    throw badRequest(
      `resourceVersionMatch: Unsupported value: "${match}": supported values: "Exact", "NotOlderThan", ""`,
    );
  if (match !== '' && version === '')
    throw badRequest(
      'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
  if (match !== '' && continued !== '')
    throw badRequest(
      'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided',
    );
  if (match === 'Exact' && version === '0')
    throw badRequest(
      'resourceVersionMatch: Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"',
    );
  if (continued !== '' && version !== '' && version !== '0')
    throw badRequest('specifying resource version is not allowed when using continue');
  let rv = store.revision;
  let after = '';
  if (continued !== '') {
    const token = decodeContinue(continued);
    rv = token.rv;
    after = token.after;
  } else if (version !== '' && version !== '0') {
    const wanted = parseVersion(version);
    checkNotAhead(wanted, store.revision);
    // Without a match, a limit asks for exactly that version, as upstream has it.
    if (match === 'Exact' || (match === '' && limit > 0)) rv = wanted;
  }
  const source =
    rv === store.revision
      ? collection.inOrder(selection.namespace, after)
      : snapshotAt(collection, rv, selection.namespace, after);
  if (source === undefined)
    throw continued === ''
      ? expired(`The resourceVersion for the provided list is too old.`)
      : expired(
          'The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.',
        );
  const everything = selection.labels.length === 0 && selection.fields.length === 0;
  const items: Stored[] = [];
  let more = false;
  for (const stored of source) {
    if (!everything && !selected(stored, selection)) continue;
    if (limit > 0 && items.length >= limit) {
      more = true;
      break;
    }
    items.push(stored);
  }
  const last = items[items.length - 1];
  return {
    items,
    rv,
    next:
      more && last !== undefined
        ? encodeContinue({ rv, after: keyOf(last.namespace, last.name) })
        : undefined,
    remaining:
      more && everything && selection.namespace === undefined && after === ''
        ? collection.size - items.length
        : undefined,
  };
}

export async function handleList(
  call: Call,
  kind: Kind,
  store: Store,
  namespace: string | undefined,
): Promise<void> {
  const form = negotiate(call.request.headers.accept);
  const selection = selectionOf(call, kind, namespace);
  const page = listPage(call, store.collection(kind.collection), store, selection);
  const metadata = {
    resourceVersion: String(page.rv),
    ...(page.next === undefined ? {} : { continue: page.next }),
    ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
  };
  switch (form.as) {
    case 'table': {
      const options = tableOptions(call);
      await sendParts(
        call,
        form,
        JSON.stringify({
          kind: 'Table',
          apiVersion: `meta.k8s.io/${form.version}`,
          metadata,
          columnDefinitions: columnDefinitions(kind),
        }),
        'rows',
        page.items,
        (stored) => JSON.stringify(tableRow(kind, stored, form.version, options)),
      );
      return;
    }
    case 'metadata':
      await sendParts(
        call,
        form,
        JSON.stringify({
          kind: 'PartialObjectMetadataList',
          apiVersion: `meta.k8s.io/${form.version}`,
          metadata,
        }),
        'items',
        page.items,
        (stored) => partialText(kind, stored, form.version),
      );
      return;
    case 'object': {
      const head = { kind: kind.listKind, apiVersion: groupVersion(kind), metadata };
      if (form.type === 'yaml' || pretty(call)) {
        const list = {
          ...head,
          items: page.items.map((stored) => JSON.parse(viewText(kind, stored)) as unknown),
        };
        const text =
          form.type === 'yaml' ? await toYaml(JSON.stringify(list)) : JSON.stringify(list, null, 2);
        send(call.response, 200, `${text}\n`, formContentType(form));
        return;
      }
      await sendParts(call, form, JSON.stringify(head), 'items', page.items, (stored) =>
        viewText(kind, stored),
      );
    }
  }
}

const chunkSize = 512 * 1024;

/** A list as it is put together, so that a large one is never in memory as a whole, nor blocks the others. */
async function sendParts(
  call: Call,
  form: Form,
  head: string,
  field: string,
  items: readonly Stored[],
  text: (stored: Stored) => string,
): Promise<void> {
  const { response } = call;
  let part = `${head.slice(0, -1)},"${field}":[`;
  let started = false;
  for (let i = 0; i < items.length; i++) {
    if (i > 0) part += ',';
    part += text(items[i] as Stored);
    if (part.length < chunkSize) continue;
    if (!started) {
      response.writeHead(200, {
        'content-type': formContentType(form),
        'cache-control': 'no-cache, private',
      });
      started = true;
    }
    const room = response.write(part);
    part = '';
    if (response.destroyed) return;
    await (room ? nextTurn() : drained(response));
  }
  part += ']}\n';
  if (started) response.end(part);
  else send(response, 200, part, formContentType(form));
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function drained(response: Call['response']): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

// watch. A watcher is a place in its collection's log: it is written to as long as its connection takes more, and
// holds nothing itself. One that falls behind the log is ended with 410, one that never reads costs its socket.
import { Lru } from '#/kit/index.ts';
import { badRequest, expired } from '../api-error.ts';
import { flag, jsonType, type Call } from '../serving/call.ts';
import { negotiate, type Form } from '../serving/media.ts';
import { groupVersion, type Kind } from '../kinds/kind.ts';
import { columnDefinitions, partialText, tableRow, viewText } from '../print/view.ts';
import type { Stored } from '../store/collection.ts';
import type { Change } from '../store/event-log.ts';
import type { Store } from '../store/store.ts';
import { parseVersion, selected, selectionOf, tableOptions, type Selection } from './read.ts';

export interface WatchLimits {
  /** Milliseconds between bookmarks of a quiet watch. */
  readonly bookmarkMs: number;
  /** Seconds a watch lasts if the client names none. */
  readonly seconds: number;
  /** A connection that has not taken anything for so long, while there is something for it, is closed. */
  readonly stalledMs: number;
}

export const watchLimits: WatchLimits = { bookmarkMs: 60_000, seconds: 1800, stalledMs: 60_000 };

type EventType = Change['type'];

/** What a change is for one who sees only a part of the objects. */
function project(change: Change, selection: Selection): EventType | undefined {
  const now = change.type !== 'DELETED' && selected(change.now, selection);
  const before = change.before !== undefined && selected(change.before, selection);
  if (now) return before ? 'MODIFIED' : 'ADDED';
  return before ? 'DELETED' : undefined;
}

/** Event texts are the same for all watchers of one version, so they are made once, while they are fresh. */
const texts = new Lru<Stored, Map<string, string>>(256);

function eventText(kind: Kind, type: EventType, stored: Stored): string {
  const key = `${type} ${groupVersion(kind)}`;
  let byKey = texts.get(stored);
  if (byKey === undefined) texts.set(stored, (byKey = new Map()));
  let text = byKey.get(key);
  if (text === undefined) byKey.set(key, (text = `{"type":"${type}","object":${viewText(kind, stored)}}\n`));
  return text;
}

/** Answers until the client goes, its time is up, it has fallen behind, or the server ends. */
export function handleWatch(
  call: Call,
  kind: Kind,
  store: Store,
  namespace: string | undefined,
  stopping: AbortSignal,
  limits: WatchLimits = watchLimits,
): Promise<void> {
  const form = negotiate(call.request.headers.accept);
  const selection = selectionOf(call, kind, namespace);
  const collection = store.collection(kind.collection);
  const { log } = collection;
  const { query, response } = call;
  const bookmarks = flag(query, 'allowWatchBookmarks');
  const version = query.get('resourceVersion') ?? '';
  const initial = query.get('sendInitialEvents');
  const match = query.get('resourceVersionMatch') ?? '';
  if (initial !== null && match !== 'NotOlderThan')
    throw badRequest(
      'resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
    );
  if (initial === null && match !== '')
    throw badRequest(
      'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
    );
  const secondsText = query.get('timeoutSeconds') ?? '';
  const seconds =
    secondsText === '' || secondsText === '0' ? limits.seconds * (1 + Math.random()) : Number(secondsText);
  if (!(seconds > 0)) throw badRequest(`timeoutSeconds: Invalid value: "${secondsText}"`);

  const wanted = version === '' || version === '0' ? undefined : parseVersion(version);
  // Everything there is comes first, unless the client has its own list.
  const listing = initial === 'true' || (initial === null && wanted === undefined);
  let position: number;
  let snapshot: Stored[] = [];
  if (listing) {
    if (wanted !== undefined && wanted > store.revision) throw tooOld(wanted, store.revision);
    snapshot = collection.list(namespace).filter((stored) => selected(stored, selection));
    position = log.next;
  } else if (wanted === undefined) position = log.next;
  else {
    // A version from the future is of another history; to wait for it would be to wait for ever.
    const found = wanted > store.revision ? undefined : log.after(wanted);
    if (found === undefined) throw tooOld(wanted, log.floor);
    position = found;
  }
  const listedAt = store.revision;

  const { promise, resolve } = Promise.withResolvers<void>();
  const options = form.as === 'table' ? tableOptions(call) : undefined;
  let firstTable = true;
  const text = (type: EventType, stored: Stored): string => {
    switch (form.as) {
      case 'object':
        return eventText(kind, type, stored);
      case 'metadata':
        return `{"type":"${type}","object":${partialText(kind, stored, form.version)}}\n`;
      case 'table': {
        const table = {
          kind: 'Table',
          apiVersion: `meta.k8s.io/${form.version}`,
          metadata: { resourceVersion: String(stored.rv) },
          columnDefinitions: firstTable ? columnDefinitions(kind) : null,
          rows: [
            tableRow(kind, stored, form.version, {
              ...(options as NonNullable<typeof options>),
              now: Date.now(),
            }),
          ],
        };
        firstTable = false;
        return `${JSON.stringify({ type, object: table })}\n`;
      }
    }
  };

  let over = false;
  let blocked = false;
  let blockedSince = 0;
  let sentRv = wanted ?? 0;
  let next = 0;
  let initialEnd = initial === 'true' && bookmarks;

  const end = (last?: string): void => {
    if (over) return;
    over = true;
    unlisten();
    clearTimeout(deadline);
    clearInterval(ticker);
    stopping.removeEventListener('abort', onStop);
    response.off('drain', onDrain);
    if (last !== undefined && !blocked) response.end(last);
    else if (blocked) response.destroy();
    else response.end();
    resolve();
  };
  const write = (line: string): void => {
    if (!response.write(line)) {
      blocked = true;
      blockedSince = Date.now();
    }
  };
  const pump = (): void => {
    while (!blocked && !over && next < snapshot.length) write(text('ADDED', snapshot[next++] as Stored));
    if (blocked || over) return;
    if (snapshot.length > 0) {
      snapshot = [];
      next = 0;
    }
    if (listing && sentRv < listedAt) sentRv = listedAt;
    if (initialEnd) {
      initialEnd = false;
      write(bookmarkText(kind, form, listedAt, true));
    }
    while (!blocked && !over && position < log.next) {
      if (position < log.first) {
        end(errorText(`too old resource version: ${sentRv} (${log.floor})`));
        return;
      }
      const change = log.at(position++) as Change;
      const type = project(change, selection);
      sentRv = change.rv;
      if (type !== undefined)
        // One that no longer matches is shown as it last was to this watcher, with the new version.
        write(text(type, change.now));
    }
  };
  // Not in the turn of the write: its client is answered first, and events that come together leave together.
  let scheduled = false;
  const schedule = (): void => {
    if (scheduled || blocked || over) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      response.cork();
      pump();
      response.uncork();
    });
  };
  const onDrain = (): void => {
    blocked = false;
    pump();
  };
  const tick = (): void => {
    if (blocked && Date.now() - blockedSince > limits.stalledMs) {
      end();
      return;
    }
    if (bookmarks && !blocked && position >= log.next) write(bookmarkText(kind, form, store.revision, false));
  };
  const onStop = (): void => end();

  response.writeHead(200, {
    'content-type': jsonType,
    'cache-control': 'no-cache, private',
    'transfer-encoding': 'chunked',
  });
  response.flushHeaders();
  const unlisten = collection.listen(schedule);
  const deadline = setTimeout(
    () => {
      if (bookmarks && !blocked && position >= log.next)
        write(bookmarkText(kind, form, store.revision, false));
      end();
    },
    Math.min(seconds * 1000, 2 ** 31 - 1),
  );
  const ticker = setInterval(tick, limits.bookmarkMs);
  deadline.unref();
  ticker.unref();
  response.on('drain', onDrain);
  response.on('close', () => end());
  stopping.addEventListener('abort', onStop, { once: true });
  pump();
  return promise;
}

const tooOld = (wanted: number, floor: number): Error =>
  expired(`too old resource version: ${wanted} (${floor})`);

function errorText(message: string): string {
  return `${JSON.stringify({
    type: 'ERROR',
    object: {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason: 'Expired',
      code: 410,
    },
  })}\n`;
}

function bookmarkText(kind: Kind, form: Form, rv: number, initialEnd: boolean): string {
  const metadata = {
    resourceVersion: String(rv),
    ...(initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    creationTimestamp: null,
  };
  const object =
    form.as === 'table'
      ? {
          kind: 'Table',
          apiVersion: `meta.k8s.io/${form.version}`,
          metadata: { resourceVersion: String(rv) },
          columnDefinitions: null,
          rows: [
            {
              cells: [],
              object: { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${form.version}`, metadata },
            },
          ],
        }
      : form.as === 'metadata'
        ? { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${form.version}`, metadata }
        : { kind: kind.kind, apiVersion: groupVersion(kind), metadata };
  return `${JSON.stringify({ type: 'BOOKMARK', object })}\n`;
}

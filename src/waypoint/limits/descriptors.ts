// What a rate limit service is told to count about a request, from the actions of the configuration.
import type { DescriptorAction, HttpSubject } from '#/model/index.ts';

export interface DescriptorEntry {
  readonly key: string;
  readonly value: string;
}

export type Descriptor = readonly DescriptorEntry[];

/** One for each list of actions that can be filled in full; entries with `skipIfAbsent` may be missing from it. */
export function descriptorsOf(
  lists: readonly (readonly DescriptorAction[])[],
  subject: HttpSubject,
): readonly Descriptor[] {
  return lists.flatMap((actions) => {
    const entries: DescriptorEntry[] = [];
    for (const action of actions) {
      const entry = entryOf(action, subject);
      if (entry !== undefined) entries.push(entry);
      else if (action.kind !== 'request-header' || !action.skipIfAbsent) return [];
    }
    return entries.length === 0 ? [] : [entries];
  });
}

/** Undefined without a value: the service refuses empty ones. */
function entryOf(action: DescriptorAction, subject: HttpSubject): DescriptorEntry | undefined {
  const entry = (key: string, value: string | undefined): DescriptorEntry | undefined =>
    value === undefined || value === '' ? undefined : { key, value };
  switch (action.kind) {
    case 'generic-key':
      return entry(action.key === '' ? 'generic_key' : action.key, action.value);
    case 'request-header':
      return entry(action.key, subject.request.headers.get(action.header));
    case 'remote-address':
      return entry('remote_address', subject.remoteIp);
    case 'source-principal':
      return entry(action.key, subject.connection.identity);
    case 'path':
      return entry(action.key, subject.request.path);
    case 'method':
      return entry(action.key, subject.request.method);
  }
}

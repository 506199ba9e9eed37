// Changes of headers that an external service asks for. Framing, routing and connection headers are ours; a header that
// would break the message makes the whole answer worthless, since to drop it alone could let a client's own through.
import { formatSocketAddress } from '#/kit/index.ts';
import type { HeaderMap } from '#/http/index.ts';
import type { ProviderAddress } from '#/model/index.ts';
import type { HeaderOption } from '#/wire/index.ts';
import { CallFailure } from './call-failure.ts';

export type HeaderEdit = HeaderOption;

const reserved: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export const isReserved = (name: string): boolean => name.startsWith(':') || reserved.has(name);

const token = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

function hasControl(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) return true;
  }
  return false;
}

/** Leaves out what is not theirs to say. Throws CallFailure if a name or value is malformed. */
export function checkedEdits(edits: readonly HeaderEdit[]): readonly HeaderEdit[] {
  const kept = edits.filter(({ name }) => !isReserved(name));
  for (const { name, value } of kept)
    if (!token.test(name) || hasControl(value))
      throw new CallFailure('protocol', `the answer has a malformed header ${JSON.stringify(name)}`);
  return kept;
}

/** Names to remove, lower case, without those that are not theirs to remove. */
export const checkedNames = (names: readonly string[]): readonly string[] =>
  names.map((name) => name.trim().toLowerCase()).filter((name) => name !== '' && !isReserved(name));

export function applyHeaderEdits(
  headers: HeaderMap,
  edits: readonly HeaderEdit[],
  remove: readonly string[] = [],
): void {
  for (const { name, value, action } of edits)
    switch (action) {
      case 'set':
        headers.set(name, value);
        break;
      case 'append':
        headers.add(name, value);
        break;
      case 'add-if-absent':
        if (!headers.has(name)) headers.add(name, value);
        break;
      case 'set-if-present':
        if (headers.has(name)) headers.set(name, value);
        break;
    }
  for (const name of remove) headers.delete(name);
}

/** `a`, `a*` or `*a`, in lower case. */
export const nameMatches = (patterns: readonly string[], name: string): boolean =>
  patterns.some((pattern) =>
    pattern.startsWith('*')
      ? name.endsWith(pattern.slice(1))
      : pattern.endsWith('*')
        ? name.startsWith(pattern.slice(0, -1))
        : name === pattern,
  );

export const addressText = ({ hostname, port }: ProviderAddress): string =>
  formatSocketAddress(hostname, port);

// Headers as text. They come from filters and routes as well as from the other side, so they are checked again here: a
// line break in a value would begin a message of its own.
import type { HeaderMap } from '../header-map.ts';
import { isWrittenByCodec, validHeaderName, validHeaderValue } from '../header-rules.ts';
import { knownByText, role } from './known-names.ts';

/** Lines of the fields that the codec does not write itself; undefined if one of them is invalid. */
export function fieldLines(headers: HeaderMap): string | undefined {
  const { flat } = headers;
  let lines = '';
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    const value = flat[i + 1] as string;
    const known = knownByText(name);
    if (known === undefined) {
      if (!validHeaderName(name)) return undefined;
    } else if (known.role !== role.ordinary && isWrittenByCodec(name)) continue;
    if (!validHeaderValue(value)) return undefined;
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

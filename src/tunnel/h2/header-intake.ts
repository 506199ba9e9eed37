// Header blocks of one connection: decoded in their order, since they share a table, and judged.
import { h2Error } from './frames.ts';
import { malformedHeaders } from './header-rules.ts';
import { CompressionError, HeadersTooLarge, HpackDecoder, type HeaderList } from './hpack.ts';

/** `whole`: false if the list is over the limit; `headers` is then its beginning. */
export type DecodedHeaders =
  | { readonly headers: HeaderList; readonly whole: boolean }
  | { readonly headers: undefined; readonly message: string };

export class HeaderIntake {
  readonly #decoder: HpackDecoder;

  constructor(maxHeaderListSize: number) {
    this.#decoder = new HpackDecoder(maxHeaderListSize);
  }

  /** Without headers: the compressed state is lost. */
  decode(block: Buffer): DecodedHeaders {
    try {
      return { headers: this.#decoder.decode(block), whole: true };
    } catch (error) {
      if (error instanceof HeadersTooLarge) return { headers: error.kept, whole: false };
      if (error instanceof CompressionError) return { headers: undefined, message: error.message };
      throw error;
    }
  }
}

/** Why the stream of headers that came on it must be reset. */
export interface HeaderFault {
  readonly code: number;
  readonly reason: string;
}

const protocolFault = (reason: string): HeaderFault => ({ code: h2Error.protocolError, reason });

/** Headers on a stream that is open: an answer, or trailers, which must end it (RFC 9113, 8.1). */
export function faultOfHeaders(
  { headers, whole }: { readonly headers: HeaderList; readonly whole: boolean },
  trailers: boolean,
  ended: boolean,
): HeaderFault | undefined {
  if (!whole) return { code: h2Error.enhanceYourCalm, reason: 'a header list over the limit' };
  if (trailers && !ended) return protocolFault('trailers that do not end the stream');
  const reason = malformedHeaders(headers, trailers ? 'trailers' : 'response');
  if (reason !== undefined) return protocolFault(reason);
  if (!trailers && ended && isInformational(headers))
    return protocolFault('an informational answer at the end');
  return undefined;
}

/** Of an answer whose headers are in order. */
export function isInformational(headers: HeaderList): boolean {
  return headers[0]?.[1].startsWith('1') === true;
}

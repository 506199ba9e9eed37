// Header blocks of SPDY/3.1 (draft-mbelshe-httpbis-spdy, sections 2.6.10 and 2.6.10.1): zlib with a dictionary that
// the protocol gives, one context per direction for the whole connection.
import { constants, createInflate, deflateRawSync, deflateSync, type Inflate } from 'node:zlib';

/** Names are lower case. */
export type SpdyHeaders = Readonly<Record<string, string>>;

const words =
  'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow ' +
  'authorization cache-control connection content-base content-encoding content-language content-length ' +
  'content-location content-md5 content-range content-type date etag expect expires from host if-match ' +
  'if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma ' +
  'proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade ' +
  'user-agent vary via warning www-authenticate method get status';
const moreWords = ['200 OK', 'version', 'HTTP/1.1', 'url', 'public', 'set-cookie', 'keep-alive', 'origin'];
const tail =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 ' +
  'Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 ' +
  'Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept ' +
  'Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,' +
  'application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch' +
  'charset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

function counted(word: string): Buffer {
  const out = Buffer.alloc(4 + word.length);
  out.writeUInt32BE(word.length);
  out.write(word, 4, 'latin1');
  return out;
}

/** 1423 bytes; its Adler-32, which every connection names, is e3c6a7c2. */
export const spdyDictionary: Buffer = Buffer.concat([
  ...words.split(' ').map(counted),
  ...moreWords.map(counted),
  Buffer.from(tail, 'latin1'),
]);

/** Of one block, unpacked. */
const blockLimit = 64 * 1024;

function encodeBlock(headers: SpdyHeaders): Buffer {
  const entries = Object.entries(headers);
  const count = Buffer.alloc(4);
  count.writeUInt32BE(entries.length);
  return Buffer.concat([count, ...entries.flatMap(([name, value]) => [counted(name), counted(value)])]);
}

function decodeBlock(block: Buffer): SpdyHeaders {
  const headers: Record<string, string> = {};
  let at = 4;
  const text = (): string => {
    const length = block.readUInt32BE(at);
    const end = at + 4 + length;
    if (end > block.length) throw new RangeError('a header block is cut off');
    const out = block.toString('utf8', at + 4, end);
    at = end;
    return out;
  };
  for (let left = block.readUInt32BE(0); left > 0; left--) headers[text().toLowerCase()] = text();
  return headers;
}

export class HeaderWriter {
  #first = true;

  /** The first block opens the zlib stream; a later one refers to nothing before it, so it needs no context. */
  write(headers: SpdyHeaders): Buffer {
    const finishFlush = constants.Z_SYNC_FLUSH;
    const block = encodeBlock(headers);
    const packed = this.#first
      ? deflateSync(block, { dictionary: spdyDictionary, finishFlush })
      : deflateRawSync(block, { finishFlush });
    this.#first = false;
    return packed;
  }
}

export class HeaderReader {
  readonly #inflate: Inflate = createInflate({
    dictionary: spdyDictionary,
    flush: constants.Z_SYNC_FLUSH,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  #parts: Buffer[] = [];
  #length = 0;
  #error: Error | undefined;

  constructor() {
    this.#inflate.on('data', (part: Buffer) => {
      this.#length += part.length;
      // Beyond the limit nothing is kept: the reader of the block says so.
      if (this.#length <= blockLimit) this.#parts.push(part);
    });
    this.#inflate.on('error', (error) => {
      this.#error = error;
    });
  }

  /** One after another: the blocks of a connection share their context. Rejects what is no header block. */
  read(block: Buffer): Promise<SpdyHeaders> {
    this.#parts = [];
    this.#length = 0;
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => reject(error);
      this.#inflate.once('error', failed);
      this.#inflate.write(block, () => {
        this.#inflate.off('error', failed);
        try {
          if (this.#error !== undefined) throw this.#error;
          if (this.#length > blockLimit)
            throw new RangeError(`a header block has more than ${blockLimit} bytes`);
          resolve(decodeBlock(Buffer.concat(this.#parts)));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  close(): void {
    this.#inflate.destroy();
  }
}

// SPDY/3.1, the part that kubectl's older exec and all its port-forwards speak: streams that the client opens, data
// both ways, half-closing. No priorities, and no flow control but that of the connection, like the client's own.
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';

/** What both sides' compression of headers begins with (SPDY protocol, draft 3, section 2.6.10.1). */
const words =
  'options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,accept-ranges,age,allow,authorization,cache-control,connection,content-base,content-encoding,content-language,content-length,content-location,content-md5,content-range,content-type,date,etag,expect,expires,from,host,if-match,if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade,user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,public,set-cookie,keep-alive,origin';
const tail =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

const withLength = (word: string): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(word.length);
  return Buffer.concat([length, Buffer.from(word, 'latin1')]);
};
export const dictionary = Buffer.concat([...words.split(',').map(withLength), Buffer.from(tail, 'latin1')]);

const type = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;
const fin = 0x01;
const maxFrame = 1024 * 1024;
const maxHeaders = 64 * 1024;
const maxStreams = 2000;

export interface SpdyHandlers {
  /** The client has opened a stream: set its callbacks before returning. */
  stream(stream: SpdyStream): void;
  /** The client broke the rules, or said that it leaves. */
  close(reason?: Error): void;
}

export class SpdyStream {
  readonly id: number;
  readonly headers: Readonly<Record<string, string>>;
  onData: (chunk: Buffer) => void = () => {};
  onEnd: () => void = () => {};
  readonly #write: (frame: Buffer) => boolean;
  #ended = false;

  constructor(id: number, headers: Readonly<Record<string, string>>, write: (frame: Buffer) => boolean) {
    this.id = id;
    this.headers = headers;
    this.#write = write;
  }

  /** False: the connection is full, wait for its drain. */
  write(data: Buffer): boolean {
    return this.#ended || data.length === 0 || this.#write(dataFrame(this.id, data, 0));
  }

  /** No more from this side. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#write(dataFrame(this.id, Buffer.alloc(0), fin));
  }
}

function dataFrame(id: number, data: Buffer, flags: number): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(id & 0x7fffffff, 0);
  head.writeUInt32BE(((flags << 24) | data.length) >>> 0, 4);
  return Buffer.concat([head, data]);
}

function controlFrame(kind: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8003, 0);
  head.writeUInt16BE(kind, 2);
  head.writeUInt32BE(((flags << 24) | body.length) >>> 0, 4);
  return Buffer.concat([head, body]);
}

export class SpdySession implements Disposable {
  readonly #write: (bytes: Buffer) => boolean;
  readonly #handlers: SpdyHandlers;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #inflate: Inflate = createInflate({ dictionary });
  readonly #deflate: Deflate = createDeflate({ dictionary });
  #rest: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #busy = false;
  #closed = false;

  constructor(write: (bytes: Buffer) => boolean, handlers: SpdyHandlers) {
    this.#write = write;
    this.#handlers = handlers;
  }

  feed(bytes: Buffer): void {
    if (this.#closed) return;
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    if (this.#busy) return;
    this.#run().catch((error: unknown) =>
      this.#end(error instanceof Error ? error : new Error(String(error))),
    );
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#inflate.close();
    this.#deflate.close();
  }

  #end(reason?: Error): void {
    if (this.#closed) return;
    this[Symbol.dispose]();
    this.#handlers.close(reason);
  }

  /** Frame by frame: reading headers takes a turn, and the order must be kept. */
  async #run(): Promise<void> {
    this.#busy = true;
    try {
      while (!this.#closed) {
        const bytes = this.#rest;
        if (bytes.length < 8) return;
        const length = bytes.readUInt32BE(4) & 0xffffff;
        if (length > maxFrame) throw new Error(`a SPDY frame of ${length} bytes is too long`);
        if (bytes.length < 8 + length) return;
        const first = bytes.readUInt32BE(0);
        const flags = bytes[4] as number;
        const body = bytes.subarray(8, 8 + length);
        this.#rest = bytes.subarray(8 + length);
        if ((first & 0x80000000) === 0) this.#data(first, flags, body);
        else await this.#control(first & 0xffff, flags, body);
      }
    } finally {
      this.#busy = false;
    }
  }

  #data(id: number, flags: number, body: Buffer): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (body.length > 0) stream.onData(body);
    if ((flags & fin) !== 0) stream.onEnd();
  }

  async #control(kind: number, flags: number, body: Buffer): Promise<void> {
    switch (kind) {
      case type.synStream: {
        const id = body.readUInt32BE(0) & 0x7fffffff;
        if (this.#streams.size >= maxStreams) throw new Error(`more than ${maxStreams} SPDY streams`);
        const headers = parseHeaders(await this.#inflated(body.subarray(10)));
        const stream = new SpdyStream(id, headers, (frame) => this.#closed || this.#write(frame));
        this.#streams.set(id, stream);
        const reply = Buffer.alloc(4);
        reply.writeUInt32BE(id);
        // A reply without headers: a count of zero, compressed like any other.
        this.#write(
          controlFrame(type.synReply, 0, Buffer.concat([reply, await this.#deflated(Buffer.alloc(4))])),
        );
        this.#handlers.stream(stream);
        if ((flags & fin) !== 0) stream.onEnd();
        return;
      }
      case type.headers:
        // Nothing is done with them, but the state of the compression goes on.
        await this.#inflated(body.subarray(4));
        return;
      case type.rstStream: {
        const id = body.readUInt32BE(0) & 0x7fffffff;
        const stream = this.#streams.get(id);
        this.#streams.delete(id);
        stream?.onEnd();
        return;
      }
      case type.ping:
        this.#write(controlFrame(type.ping, 0, Buffer.from(body)));
        return;
      case type.goAway:
        this.#end();
        return;
      default:
    }
  }

  #inflated(bytes: Buffer): Promise<Buffer> {
    return throughZlib(this.#inflate, bytes);
  }

  #deflated(bytes: Buffer): Promise<Buffer> {
    return throughZlib(this.#deflate, bytes);
  }
}

/** One block through a compression that goes on over the whole session. */
function throughZlib(stream: Inflate | Deflate, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    const onData = (part: Buffer): void => {
      parts.push(part);
      size += part.length;
      if (size > maxHeaders) finish(new Error('SPDY headers are too long'));
    };
    const onError = (error: Error): void => finish(error);
    const finish = (error?: Error): void => {
      stream.off('data', onData);
      stream.off('error', onError);
      if (error === undefined) resolve(Buffer.concat(parts));
      else reject(error);
    };
    stream.on('data', onData);
    stream.on('error', onError);
    stream.write(bytes);
    stream.flush(constants.Z_SYNC_FLUSH, () => finish());
  });
}

function parseHeaders(bytes: Buffer): Record<string, string> {
  const out: Record<string, string> = {};
  const count = bytes.readUInt32BE(0);
  let at = 4;
  const text = (): string => {
    const length = bytes.readUInt32BE(at);
    const found = bytes.subarray(at + 4, at + 4 + length).toString('latin1');
    at += 4 + length;
    return found;
  };
  for (let i = 0; i < count && at < bytes.length; i++) {
    const name = text().toLowerCase();
    out[name] = text();
  }
  return out;
}

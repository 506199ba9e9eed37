// A proxy as the control plane sees it, at the least cost: HTTP/2 frames written and read by hand on a socket. Hundreds
// of full gRPC clients would use more CPU than the server that is measured.
import { connect, type Socket } from 'node:net';
import {
  addressTypeUrl,
  decodeDeltaResponse,
  deltaMethodPath,
  encodeDeltaRequest,
} from '../src/wire/index.ts';

const frame = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7 } as const;

function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header of HPACK without index and without Huffman; a name of the static table is its number (below 15). */
function header(name: string | number, value: string): Buffer {
  const text = (of: string) => Buffer.concat([Buffer.from([of.length]), Buffer.from(of)]);
  return Buffer.concat([
    typeof name === 'number' ? Buffer.from([name]) : Buffer.concat([Buffer.from([0]), text(name)]),
    text(value),
  ]);
}

const [post, http] = [Buffer.from([0x83]), Buffer.from([0x86])];
/** As large as can be, so that nothing of what comes must be acknowledged. */
const largest = Buffer.from([0x7f, 0xff, 0x00, 0x00]);

function opening(authority: string): Buffer {
  const headers = Buffer.concat([
    post,
    http,
    header(4, deltaMethodPath),
    header(1, authority),
    header('content-type', 'application/grpc'),
    header('te', 'trailers'),
  ]);
  return Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    // SETTINGS_INITIAL_WINDOW_SIZE
    frameOf(frame.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), largest])),
    frameOf(8, 0, 0, largest),
    frameOf(frame.headers, 4, 1, headers),
  ]);
}

function message(request: Parameters<typeof encodeDeltaRequest>[0]): Buffer {
  const bytes = encodeDeltaRequest(request);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return frameOf(frame.data, 0, 1, Buffer.concat([head, bytes]));
}

function varint(bytes: Buffer, at: number): { value: number; next: number } {
  let value = 0;
  for (let shift = 0, i = at; ; shift += 7, i++) {
    const byte = bytes[i] as number;
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return { value, next: i + 1 };
  }
}

/** How many resources a response holds, and its nonce, without decoding any. */
function scan(response: Buffer): { resources: number; nonce: string } {
  let resources = 0;
  let nonce = '';
  for (let at = 0; at < response.length;) {
    const tag = varint(response, at);
    const length = varint(response, tag.next);
    const field = tag.value >> 3;
    if (field === 2) resources++;
    else if (field === 5) nonce = response.toString('latin1', length.next, length.next + length.value);
    at = length.next + length.value;
  }
  return { resources, nonce };
}

/** The server says the same to all of us, under one nonce: what one has understood, the others need not. */
let last: { readonly nonce: string; readonly acknowledgement: Buffer; names?: readonly string[] } | undefined;

function answerTo(nonce: string): NonNullable<typeof last> {
  if (last?.nonce !== nonce)
    last = { nonce, acknowledgement: message({ typeUrl: addressTypeUrl, responseNonce: nonce }) };
  return last;
}

export interface BareClientEvents {
  readonly onFirst: (resources: number, bytes: number) => void;
  readonly onDelta: (names: readonly string[]) => void;
  readonly onEnd: (reason: string) => void;
}

/** Connects in plain text, asks for all addresses and acknowledges whatever comes. */
export class BareXdsClient {
  readonly #socket: Socket;
  readonly #events: BareClientEvents;
  /** Of a frame that is not complete. */
  #rest: Buffer[] = [];
  #restLength = 0;
  #needed = 9;
  /** Of a message that is not complete. */
  #message: Buffer[] = [];
  #messageLength = 0;
  #first = true;

  constructor(host: string, port: number, id: number, events: BareClientEvents) {
    this.#events = events;
    const node = {
      id: `ztunnel~10.0.0.1~ztunnel-${id}.istio-system~istio-system.svc.cluster.local`,
      metadata: { NODE_NAME: `node-${id}` },
    };
    this.#socket = connect({ host, port, noDelay: true });
    this.#socket.write(
      Buffer.concat([opening(`${host}:${port}`), message({ typeUrl: addressTypeUrl, node })]),
    );
    this.#socket.on('data', (bytes: Buffer) => this.#take(bytes));
    this.#socket.on('error', (error) => events.onEnd(error.message));
    this.#socket.on('close', () => events.onEnd('the server has closed the connection'));
  }

  #take(chunk: Buffer): void {
    this.#rest.push(chunk);
    this.#restLength += chunk.length;
    if (this.#restLength < this.#needed) return;
    const bytes = this.#rest.length === 1 ? chunk : Buffer.concat(this.#rest);
    let at = 0;
    this.#needed = 9;
    while (bytes.length - at >= 9) {
      const length = bytes.readUIntBE(at, 3);
      if (bytes.length - at < 9 + length) {
        this.#needed = 9 + length;
        break;
      }
      const payload = bytes.subarray(at + 9, at + 9 + length);
      this.#frame(bytes[at + 3] as number, bytes[at + 4] as number, payload);
      at += 9 + length;
    }
    this.#rest = at === bytes.length ? [] : [bytes.subarray(at)];
    this.#restLength = bytes.length - at;
  }

  #frame(type: number, flags: number, payload: Buffer): void {
    switch (type) {
      case frame.data:
        this.#data(payload);
        return;
      case frame.settings:
      case frame.ping:
        if ((flags & 1) === 0)
          this.#socket.write(frameOf(type, 1, 0, type === frame.ping ? payload : Buffer.alloc(0)));
        return;
      case frame.reset:
      case frame.goAway:
        this.#events.onEnd(`frame ${type}: ${payload.toString('latin1')}`);
    }
  }

  #data(payload: Buffer): void {
    this.#message.push(payload);
    this.#messageLength += payload.length;
    const head = this.#message[0] as Buffer;
    if (head.length < 5 || this.#messageLength < 5 + head.readUInt32BE(1)) return;
    const response = (this.#message.length === 1 ? head : Buffer.concat(this.#message)).subarray(5);
    this.#message = [];
    this.#messageLength = 0;
    const { resources, nonce } = scan(response);
    const answer = answerTo(nonce);
    if (this.#first) {
      this.#first = false;
      this.#events.onFirst(resources, response.length);
    } else {
      answer.names ??= decodeDeltaResponse(response).resources.map(({ name }) => name);
      this.#events.onDelta(answer.names);
    }
    this.#socket.write(answer.acknowledgement);
  }
}

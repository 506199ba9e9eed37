// A client that speaks SPDY, a kubelet that speaks WebSocket: exec and attach stream by stream, port-forward with one
// connection to the kubelet for each that the client opens.
import type { Duplex } from 'node:stream';
import { SpdySession, type SpdyStream } from './spdy.ts';
import { WebSocketStream } from './web-socket.ts';

const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
/** A client that does not open its streams is not waited for longer. */
const streamsMs = 30_000;

export interface Kubelet {
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** The client's end: raw SPDY after an upgrade, or SPDY in the messages of a WebSocket. */
export interface SpdyTransport {
  write(bytes: Buffer): boolean;
  onBytes(listener: (bytes: Buffer) => void): void;
  onDrain(listener: () => void): void;
  onClose(listener: () => void): void;
  close(): void;
}

export function rawTransport(socket: Duplex, head: Buffer): SpdyTransport {
  return {
    write: (bytes) => socket.destroyed || socket.write(bytes),
    onBytes(listener) {
      if (head.length > 0) queueMicrotask(() => listener(head));
      socket.on('data', listener);
    },
    onDrain: (listener) => void socket.on('drain', listener),
    onClose(listener) {
      socket.on('end', listener);
      socket.on('close', listener);
    },
    close() {
      socket.end();
      setTimeout(() => socket.destroy(), 1000).unref();
    },
  };
}

export function tunnelledTransport(socket: Duplex, head: Buffer): SpdyTransport {
  let onBytes: (bytes: Buffer) => void = () => {};
  let onClose: () => void = () => {};
  const web = new WebSocketStream(socket, head, false, {
    message: (data) => onBytes(data),
    close: () => onClose(),
  });
  return {
    write: (bytes) => web.send(bytes),
    onBytes: (listener) => void (onBytes = listener),
    onDrain: (listener) => web.onDrain(listener),
    onClose: (listener) => void (onClose = listener),
    close: () => web.close(),
  };
}

const tagged = (id: number, data: Buffer): Buffer => Buffer.concat([Buffer.from([id]), data]);

/** Resolves when either side has ended. `wanted`: the streams that the client will open. */
export function bridgeExec(
  transport: SpdyTransport,
  kubelet: Kubelet,
  wanted: ReadonlySet<string>,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const streams = new Map<string, SpdyStream>();
  const early: Buffer[] = [];
  const web = new WebSocketStream(kubelet.socket, kubelet.head, true, { message: take, close: end });
  web.onDrain(() => {});
  const complete = (): boolean => [...wanted].every((name) => streams.has(name));
  const timer = setTimeout(() => (complete() ? undefined : end()), streamsMs);
  timer.unref();
  let over = false;

  function take(data: Buffer): void {
    if (!complete()) {
      // At most what one turn of reading brings: the kubelet is not read on until the client is ready.
      early.push(data);
      web.pause();
      return;
    }
    const id = data[0];
    const body = data.subarray(1);
    const stream = streams.get(
      id === channel.stdout
        ? 'stdout'
        : id === channel.stderr
          ? 'stderr'
          : id === channel.error
            ? 'error'
            : '',
    );
    if (stream === undefined) return;
    if (!stream.write(body)) web.pause();
    if (id === channel.error) end();
  }

  function end(): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    for (const name of ['stdout', 'stderr', 'resize', 'stdin', 'error']) streams.get(name)?.end();
    web.close();
    session[Symbol.dispose]();
    transport.close();
    resolve();
  }

  const session = new SpdySession((bytes) => transport.write(bytes), {
    stream(stream) {
      const name = stream.headers['streamtype'] ?? '';
      streams.set(name, stream);
      if (name === 'stdin') {
        stream.onData = (chunk) => void web.send(tagged(channel.stdin, chunk));
        stream.onEnd = () => void web.send(Buffer.from([channel.close, channel.stdin]));
      } else if (name === 'resize') stream.onData = (chunk) => void web.send(tagged(channel.resize, chunk));
      if (!complete()) return;
      const waiting = early.splice(0);
      for (const data of waiting) take(data);
      web.resume();
    },
    close: end,
  });
  transport.onDrain(() => web.resume());
  transport.onBytes((bytes) => session.feed(bytes));
  transport.onClose(end);
  return promise;
}

/** `open` connects to the kubelet for one port. Resolves when the client has gone. */
export function bridgePortForward(
  transport: SpdyTransport,
  open: (port: string) => Promise<Kubelet>,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const pairs = new Map<string, { data?: SpdyStream; error?: SpdyStream }>();
  const connections = new Set<WebSocketStream>();

  const connect = (port: string, data: SpdyStream, error: SpdyStream): void => {
    const pending: Buffer[] = [];
    let web: WebSocketStream | undefined;
    let ended = false;
    data.onData = (chunk) => {
      if (web === undefined) pending.push(chunk);
      else web.send(tagged(0, chunk));
    };
    data.onEnd = () => {
      ended = true;
      web?.close();
    };
    const seen = new Set<number>();
    open(port).then(
      ({ socket, head }) => {
        const own = new WebSocketStream(socket, head, true, {
          message(message) {
            const id = message[0] ?? -1;
            // The first message of each channel is the port.
            if (!seen.has(id)) {
              seen.add(id);
              if (message.length === 3) return;
            }
            const body = message.subarray(1);
            if (id === 0) {
              if (!data.write(body)) own.pause();
            } else if (body.length > 0) error.write(body);
          },
          close() {
            connections.delete(own);
            data.end();
            error.end();
          },
        });
        web = own;
        connections.add(own);
        for (const chunk of pending.splice(0)) own.send(tagged(0, chunk));
        if (ended) own.close();
      },
      (failure: unknown) => {
        error.write(Buffer.from(failure instanceof Error ? failure.message : String(failure)));
        error.end();
        data.end();
      },
    );
  };

  let over = false;
  const end = (): void => {
    if (over) return;
    over = true;
    for (const connection of connections) connection.close();
    session[Symbol.dispose]();
    transport.close();
    resolve();
  };
  const session = new SpdySession((bytes) => transport.write(bytes), {
    stream(stream) {
      const { streamtype = '', port = '', requestid = '' } = stream.headers;
      const key = `${port} ${requestid}`;
      const pair = pairs.get(key) ?? {};
      if (streamtype === 'data') pair.data = stream;
      else if (streamtype === 'error') pair.error = stream;
      if (pair.data === undefined || pair.error === undefined) {
        pairs.set(key, pair);
        return;
      }
      pairs.delete(key);
      connect(port, pair.data, pair.error);
    },
    close: end,
  });
  transport.onDrain(() => {
    for (const connection of connections) connection.resume();
  });
  transport.onBytes((bytes) => session.feed(bytes));
  transport.onClose(end);
  return promise;
}

// A connection to a port inside a pod, as `kubectl port-forward` makes one: a WebSocket through the API server and
// the kubelet (v4.channel.k8s.io). The first byte of a message is its channel: 0 data, 1 the reason of a failure;
// the first message of each holds the port. To the pod it comes from its own loopback.
import { Duplex } from 'node:stream';
import { WebSocketFrames } from './web-socket-frames.ts';

export const portForwardProtocol = 'v4.channel.k8s.io';

const channel = { data: 0, error: 1 } as const;

/** The bytes of the pod's port over an upgraded connection. Ends and errors with it. */
export function forwardedStream(socket: Duplex, head: Buffer, what: string): Duplex {
  const seen = new Set<number>();
  const stream = new Duplex({
    allowHalfOpen: false,
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      if (!socket.writable) {
        done(new Error(`${what}: the connection is closed`));
        return;
      }
      const message = Buffer.concat([Buffer.from([channel.data]), chunk]);
      if (socket.write(WebSocketFrames.encode(message))) done();
      else socket.once('drain', () => done());
    },
    final: (done) => {
      if (socket.writable) socket.write(WebSocketFrames.encode(Buffer.from([0x03, 0xe8]), 'close'));
      done();
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  const take = (message: Buffer): void => {
    const id = message[0];
    if (id === undefined) return;
    if (!seen.has(id)) {
      seen.add(id);
      if (message.length === 3) return;
    }
    const body = message.subarray(1);
    if (id === channel.data) {
      if (!stream.push(body)) socket.pause();
    } else if (id === channel.error && body.length > 0)
      stream.destroy(new Error(`${what}: ${body.toString('utf8').trim()}`));
  };
  const frames = new WebSocketFrames({
    message: take,
    ping: (body) => socket.write(WebSocketFrames.encode(body, 'pong')),
    close: () => {
      stream.push(null);
      socket.end();
    },
  });
  const read = (chunk: Buffer): void => {
    try {
      frames.read(chunk);
    } catch (error) {
      stream.destroy(error as Error);
    }
  };
  socket.on('data', read);
  socket.on('error', (error) => stream.destroy(error));
  socket.on('close', () => stream.push(null));
  if (head.length > 0) read(head);
  return stream;
}

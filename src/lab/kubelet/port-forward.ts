// Port forwarding over a WebSocket, as a kubelet speaks it (v4.channel.k8s.io): two channels per port, data and the
// reason of a failure; the first message of each is the port. One port per connection, as clients ask for it.
import type { Duplex } from 'node:stream';
import type { Kernel, Netns } from '#/sys/index.ts';
import { WebSocket } from './websocket.ts';

export const forwardProtocol = 'v4.channel.k8s.io';

const channel = { data: 0, error: 1 } as const;

/** `netns` is the pod's; it is not closed here. To the pod, the connection comes from its own loopback. */
export function serveForward(socket: Duplex, head: Buffer, kernel: Kernel, netns: Netns, port: number): void {
  const target = kernel.connect({ netns, ip: '127.0.0.1', port, noDelay: true });
  const web = new WebSocket(socket, head, {
    onMessage: (data) => {
      if (data[0] !== channel.data) return;
      if (!target.write(data.subarray(1))) {
        web.pause();
        target.once('drain', () => web.resume());
      }
    },
    onClose: () => target.destroy(),
  });
  const send = (id: number, data: Buffer): boolean => web.send(Buffer.concat([Buffer.from([id]), data]));
  const number = Buffer.alloc(2);
  number.writeUInt16LE(port);
  send(channel.data, number);
  send(channel.error, number);
  target.on('data', (data: Buffer) => {
    if (!send(channel.data, data)) target.pause();
  });
  web.onDrain(() => target.resume());
  target.on('error', (error) =>
    send(
      channel.error,
      Buffer.from(`failed to connect to localhost:${port} inside of the pod: ${error.message}`),
    ),
  );
  target.on('close', () => web.close());
}

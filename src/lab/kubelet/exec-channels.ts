// One exec over a WebSocket, by the channel protocols of Kubernetes: the first byte of a message is the channel.
// v5.channel.k8s.io adds a message that closes the client's standard input; v4 is the same without it.
import type { Duplex } from 'node:stream';
import { ExecProcess } from './exec-process.ts';
import { WebSocket } from './websocket.ts';

export const webSocketProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;

const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

export function serveWebSocketExec(
  socket: Duplex,
  head: Buffer,
  argv: readonly string[],
  stdin: boolean,
): void {
  const tagged = (id: number, data: Buffer): Buffer => Buffer.concat([Buffer.from([id]), data]);
  const process = new ExecProcess(argv, stdin, {
    write: (channel, data) => web.send(tagged(channels[channel], data)),
    finish: (status) => {
      web.send(tagged(channels.error, Buffer.from(JSON.stringify(status))));
      web.close();
    },
  });
  const web: WebSocket = new WebSocket(socket, head, {
    onMessage: (data) => {
      if (data[0] === channels.stdin && stdin) {
        if (!process.input(data.subarray(1))) web.pause();
      } else if (data[0] === channels.close && data[1] === channels.stdin) process.endInput();
    },
    onClose: () => process.kill(),
  });
  process.onStdinDrain(() => web.resume());
  web.onDrain(() => process.resume());
}

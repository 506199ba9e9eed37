// exec and port-forward over SPDY/3.1, for kubectl before 1.30 and for every kubectl's port-forward. Streams are told
// apart by their header `streamtype`.
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SpdySession, type SpdyStream } from '../spdy/spdy-session.ts';
import { ExecProcess } from './exec-process.ts';

export const spdyExecProtocols = ['v4.channel.k8s.io'] as const;
export const spdyForwardProtocol = 'portforward.k8s.io';

/** A client that upgraded must open its streams within this time. */
const streamsWithinMs = 10_000;

export function serveSpdyExec(
  socket: Duplex,
  head: Buffer,
  argv: readonly string[],
  wanted: {
    readonly stdin: boolean;
    readonly stdout: boolean;
    readonly stderr: boolean;
    readonly tty: boolean;
  },
): void {
  const expected = new Set(['error']);
  if (wanted.stdin) expected.add('stdin');
  if (wanted.stdout) expected.add('stdout');
  // A terminal has one output, and a stream for its size.
  if (wanted.stderr && !wanted.tty) expected.add('stderr');
  if (wanted.tty) expected.add('resize');
  const streams = new Map<string, SpdyStream>();
  let process: ExecProcess | undefined;
  const begin = (): void => {
    clearTimeout(timer);
    const stdin = streams.get('stdin');
    const running = new ExecProcess(argv, stdin !== undefined, {
      write: (channel, data) => streams.get(channel)?.write(data) ?? true,
      finish: (status) => {
        streams.get('stdout')?.end();
        streams.get('stderr')?.end();
        streams.get('error')?.write(Buffer.from(JSON.stringify(status)));
        streams.get('error')?.end();
        session.close();
      },
    });
    process = running;
    if (stdin === undefined) return;
    stdin.onData = (data) => {
      if (!running.input(data)) session.pause();
    };
    stdin.onEnd = () => running.endInput();
    running.onStdinDrain(() => session.resume());
  };
  const session: SpdySession = new SpdySession(socket, head, {
    onStream: (stream) => {
      const type = stream.headers['streamtype'] ?? '';
      if (!expected.has(type) || streams.has(type) || process !== undefined) {
        stream.reset();
        return;
      }
      streams.set(type, stream);
      if (streams.size === expected.size) begin();
    },
    onClose: () => {
      clearTimeout(timer);
      process?.kill();
    },
  });
  const timer = setTimeout(() => session.close(), streamsWithinMs);
  session.onDrain(() => process?.resume());
}

/** `dial`: a connection to a port of the pod, made inside its namespace. */
export function serveSpdyForward(socket: Duplex, head: Buffer, dial: (port: number) => Socket): void {
  const errors = new Map<string, SpdyStream>();
  const sockets = new Set<Socket>();
  const session: SpdySession = new SpdySession(socket, head, {
    onStream: (stream) => {
      const { streamtype: type = '', requestid: request = '', port = '' } = stream.headers;
      if (type === 'error') errors.set(request, stream);
      else if (type === 'data') forward(stream, Number(port), errors.get(request));
      else stream.reset();
      errors.delete(type === 'data' ? request : '');
    },
    onClose: () => {
      for (const one of sockets) one.destroy();
    },
  });
  const forward = (stream: SpdyStream, port: number, error: SpdyStream | undefined): void => {
    const target = dial(port);
    sockets.add(target);
    let early: Buffer[] | undefined = [];
    target.on('connect', () => {
      for (const data of early ?? []) target.write(data);
      early = undefined;
    });
    stream.onData = (data) => {
      if (early !== undefined) early.push(data);
      else if (!target.write(data)) session.pause();
    };
    target.on('drain', () => session.resume());
    stream.onEnd = () => target.end();
    stream.onReset = () => target.destroy();
    target.on('data', (data: Buffer) => {
      if (!stream.write(data)) target.pause();
    });
    target.on('end', () => stream.end());
    target.on('error', (cause) => {
      error?.write(Buffer.from(`an error occurred forwarding to port ${port} of the pod: ${cause.message}`));
      error?.end();
      stream.reset();
    });
    target.on('close', () => {
      sockets.delete(target);
      stream.end();
      error?.end();
    });
  };
  session.onDrain(() => {
    for (const one of sockets) one.resume();
  });
}

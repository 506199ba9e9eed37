// A program for an application's pod: does to a proxy what no good server does, as the path of the request says.
import { createServer, type Socket } from 'node:net';

const answers: Readonly<Record<string, (socket: Socket) => void>> = {
  '/ok': (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'),
  '/no-answer': (socket) => socket.destroy(),
  '/half-a-head': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-le'),
  '/half-a-body': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf'),
  '/cut-body': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf');
    setTimeout(() => socket.resetAndDestroy(), 100);
  },
  '/half-the-chunks': (socket) =>
    socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n'),
  '/bad-chunk': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n'),
  '/two-lengths': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc'),
  '/no-http': (socket) => socket.write('what do you want?\r\n\r\n'),
  '/two-answers': (socket) =>
    socket.write(
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil',
    ),
  '/huge-head': (socket) => socket.write(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(200_000)}\r\n\r\n`),
  '/early': (socket) =>
    socket.write('HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig'),
  '/hang': () => {},
};

createServer((socket) => {
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    if (!text.includes('\r\n\r\n')) return;
    const path = text.split(' ')[1] ?? '';
    text = '';
    answers[path]?.(socket);
  });
}).listen(8080, '::');
process.on('SIGTERM', () => process.exit(0));

// The server of the benches: answers every request on a connection with 1 KiB, as fast as Node allows. Not a web
// server: it looks for the end of a head and for `Connection: close`, nothing else.
import { createServer } from 'node:net';

const body = Buffer.alloc(1024, 'x');
const answer = (extra: string): Buffer =>
  Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${extra}Content-Length: ${body.length}\r\n\r\n`), body]);
const keep = answer('');
const close = answer('Connection: close\r\n');

createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    if (chunk.includes('Connection: close')) socket.end(close);
    else socket.write(keep);
  });
}).listen(Number(process.argv[2]), '0.0.0.0');

// A gRPC server for the benches: every unary call is answered with 1 KiB, without looking at the request. On the
// project's own HTTP/2, since a server of more CPU than the proxies would be what is measured.
import { createServer } from 'node:net';
import { h2Server, HeaderMap } from '#/http/index.ts';
import { SocketBytes } from './socket-bytes.ts';

const body = Buffer.concat([Buffer.from([0, 0, 0, 4, 0]), Buffer.alloc(1024, 'x')]);

createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
  h2Server(
    new SocketBytes(socket),
    {},
    {
      request: (exchange) => {
        const answer = (): void => {
          const headers = new HeaderMap(['content-type', 'application/grpc']);
          exchange.respond({ status: 200, headers, contentLength: undefined }, false);
          exchange.write(body);
          exchange.end(new HeaderMap(['grpc-status', '0']));
        };
        exchange.receiver = {
          data: (chunk) => exchange.consumed(chunk.length),
          end: answer,
          failed: () => {},
          writable: () => {},
        };
        if (exchange.requestEnded) answer();
      },
      refused: () => {},
      closed: () => {},
    },
  );
}).listen(Number(process.argv[2]), '0.0.0.0');

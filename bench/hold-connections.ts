// Opens connections and holds them until it is ended. Prints `open` when all are established.
import { connect } from 'node:net';

const [host, port, count] = process.argv.slice(2);
let open = 0;
for (let i = 0; i < Number(count); i++) {
  const socket = connect({ host: host as string, port: Number(port) }, () => {
    // An answer shows that the connection goes all the way.
    socket.write('GET / HTTP/1.1\r\n\r\n');
  });
  socket.once('data', () => {
    if (++open === Number(count)) console.log('open');
  });
  socket.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
}

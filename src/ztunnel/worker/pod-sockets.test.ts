import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { PodSockets } from './pod-sockets.ts';

suite("a pod's sockets", () => {
  let server: Server;
  const accepted: Socket[] = [];

  before(async () => {
    server = createServer((socket) => {
      accepted.push(socket);
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });

  const dialled = (): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1', () => resolve(socket));
    });

  test('held until closed; waits end when their group is empty', async () => {
    const sockets = new PodSockets();
    const [client, other] = [await dialled(), await dialled()];
    const closed: string[] = [];
    sockets.add(client, 'client', () => closed.push('client'));
    sockets.add(other, 'other', () => closed.push('other'));
    const done: string[] = [];
    const noClients = sockets.whenNoClients().then(() => done.push('clients'));
    const empty = sockets.whenEmpty().then(() => done.push('all'));
    client.destroy();
    await noClients;
    assert.deepEqual([done, closed, sockets.size], [['clients'], ['client'], 1]);
    other.destroy();
    await empty;
    assert.deepEqual([done, closed, sockets.size], [['clients', 'all'], ['client', 'other'], 0]);
    await Promise.all([sockets.whenEmpty(), sockets.whenNoClients()]);
  });

  test('destroyed all at once: those that connect yet, too; clients see a reset', async () => {
    const sockets = new PodSockets();
    const from = accepted.length;
    const client = await dialled();
    const connecting = connect((server.address() as AddressInfo).port, '127.0.0.1');
    sockets.add(client, 'client');
    sockets.add(connecting, 'other');
    while (accepted.length === from) await new Promise((resolve) => setImmediate(resolve));
    const reset = new Promise<NodeJS.ErrnoException>((resolve) => accepted[from]?.once('error', resolve));
    sockets.destroyAll();
    await sockets.whenEmpty();
    assert.equal((await reset).code, 'ECONNRESET');
    assert.ok(client.destroyed && connecting.destroyed);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSockaddr, sockaddr, writeSockaddr } from './sockaddr.ts';

const layouts = [
  ['10.1.2.3', 15008, '02003aa00a010203' + '0000000000000000', '10.1.2.3'],
  ['fd00::1', 80, '0a00005000000000' + 'fd000000000000000000000000000001' + '00000000', 'fd00::1'],
  ['::', 0, '0a00000000000000' + '00000000000000000000000000000000' + '00000000', '::'],
  ['::ffff:10.1.2.3', 1, '0a00000100000000' + '00000000000000000000ffff0a010203' + '00000000', '10.1.2.3'],
] as const;

for (const [ip, port, layout, back] of layouts) {
  test(`${ip} port ${port} has the layout of the kernel, and comes back as ${back}`, () => {
    sockaddr.fill(0xee);
    const length = writeSockaddr(ip, port);
    assert.equal(Buffer.from(sockaddr.subarray(0, length)).toString('hex'), layout);
    assert.deepEqual(readSockaddr(), { ip: back, port });
  });
}

test('what is no IP address is not read as one', () => {
  assert.equal(writeSockaddr('localhost', 1), 0);
  sockaddr[0] = 1;
  assert.equal(readSockaddr(), undefined);
});

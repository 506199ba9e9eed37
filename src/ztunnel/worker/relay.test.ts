// One outcome per connection, whatever ends it first, and a place among the live ones from before the first verdict
// until the outcome.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { MeshError } from '#/errors/index.ts';
import { Ledger, TrafficMetrics } from '#/telemetry/index.ts';
import { at } from '../../../test/mesh-records.ts';
import { LiveConnections } from './live-connections.ts';
import { Relay } from './relay.ts';

function fixture() {
  const lines: string[] = [];
  const metrics = new TrafficMetrics();
  const ledger = new Ledger({
    log: { format: 'plain', enabled: (level) => level !== 'debug', write: (line) => lines.push(line) },
    metrics,
    now: () => 0,
  });
  const live = new LiveConnections();
  const relay = (
    options: { pod?: string; allowed?: () => boolean; socketIsClient?: boolean } = {},
  ): Relay => {
    const entry = ledger.open({
      reporter: 'destination',
      mutualTls: false,
      sourceAddress: at('10.0.0.1:1000'),
      destinationAddress: at('10.0.0.2:80'),
    });
    const facts = {
      pod: options.pod ?? 'pod',
      direction: 'inbound',
      source: at('10.0.0.1:1000'),
      originalDestination: at('10.0.0.2:80'),
      actualDestination: at('10.0.0.2:8080'),
      protocol: 'TCP',
      ...(options.allowed && { stillAllowed: options.allowed }),
    } as const;
    return new Relay(facts, entry, live, options.socketIsClient ?? true);
  };
  const ends = (): string[] => lines.map((line) => line.slice(line.indexOf('bytes_sent')));
  const copy = () => {
    const calls: string[] = [];
    return { fromSocket: 0, toSocket: 0, calls, abort: () => void calls.push('abort') };
  };
  return { ledger, live, relay, ends, copy, metrics };
}

suite('relay', () => {
  test('finished: bytes, one line, no longer live; later ends change nothing', () => {
    const f = fixture();
    const relay = f.relay();
    assert.deepEqual([f.live.size, f.live.countOf('pod')], [1, 1]);
    relay.started(f.copy());
    relay.done({ fromSocket: 5, toSocket: 7 });
    relay.done({ fromSocket: 50, toSocket: 70 });
    relay.fail(new MeshError('CONNECT_FAILED'));
    relay.close('DRAINED');
    assert.deepEqual(f.ends(), ['bytes_sent=7 bytes_recv=5 duration="0ms"']);
    assert.deepEqual([f.live.size, f.live.countOf('pod'), relay.ended], [0, 0, true]);
  });

  test("of a tunnel's server side, the socket is the application's", () => {
    const f = fixture();
    f.relay({ socketIsClient: false }).done({ fromSocket: 5, toSocket: 7 });
    assert.deepEqual(f.ends(), ['bytes_sent=5 bytes_recv=7 duration="0ms"']);
  });

  test('closed while bytes flow: counted to the last, copy aborted, what the copy says then is too late', () => {
    const f = fixture();
    const relay = f.relay();
    const copy = { ...f.copy(), fromSocket: 3, toSocket: 4 };
    relay.started(copy);
    relay.close('POLICY_CHANGED');
    relay.done({ fromSocket: 9, toSocket: 9 });
    assert.deepEqual(copy.calls, ['abort']);
    assert.deepEqual(f.ends(), [
      'bytes_sent=4 bytes_recv=3 duration="0ms" error="connection closed due to policy change"',
    ]);
  });

  test('closed before bytes flow: what was begun is undone, once, and is told why', () => {
    const f = fixture();
    const relay = f.relay();
    const undone: string[] = [];
    relay.onClose((code) => undone.push(code));
    relay.close('DRAINED');
    relay.close('POLICY_CHANGED');
    assert.deepEqual(undone, ['DRAINED']);
    assert.equal(f.ends().length, 1);
  });

  test('accounted while open: no byte twice', () => {
    const f = fixture();
    const relay = f.relay();
    const copy = f.copy();
    relay.started(copy);
    copy.fromSocket = 10;
    f.live.account();
    f.live.account();
    assert.equal(f.metrics.drain().series[0]?.received, 10);
    copy.fromSocket = 15;
    f.live.account();
    relay.done({ fromSocket: 20, toSocket: 1 });
    assert.deepEqual(
      f.metrics.drain().series.map(({ received, sent }) => [received, sent]),
      [[10, 1]],
    );
    assert.deepEqual(f.ends(), ['bytes_sent=1 bytes_recv=20 duration="0ms"']);
  });

  test('a failure of the copy is an error line; a plain end is not', () => {
    const f = fixture();
    f.relay().done({ fromSocket: 0, toSocket: 0, failure: { side: 'tunnel', message: 'protocol error' } });
    assert.match(f.ends()[0] ?? '', /error="protocol error"$/);
  });
});

suite('live connections', () => {
  test('judged again: only those that policy refuses are closed', () => {
    const f = fixture();
    let refused = false;
    const a = f.relay({ allowed: () => !refused });
    const b = f.relay({ allowed: () => true });
    const outbound = f.relay();
    f.live.judgeAgain();
    assert.equal(f.live.size, 3);
    refused = true;
    f.live.judgeAgain();
    assert.deepEqual([a.ended, b.ended, outbound.ended], [true, false, false]);
    assert.equal(f.live.size, 2);
  });

  test('a policy that arrives between a place in the list and the verdict is not missed', () => {
    const f = fixture();
    let denied = false;
    // As the proxies do it: first the place, then the verdict, both in one turn.
    const relay = f.relay({ allowed: () => !denied });
    denied = true;
    f.live.judgeAgain();
    assert.equal(relay.ended, true);
  });

  test('of one pod; many at once while the list changes', () => {
    const f = fixture();
    const relays = Array.from({ length: 100 }, (_, i) => f.relay({ pod: i % 2 === 0 ? 'even' : 'odd' }));
    f.live.closeWhere(({ pod }) => pod === 'even', 'DRAINED');
    assert.deepEqual([f.live.size, f.live.countOf('even'), f.live.countOf('odd')], [50, 0, 50]);
    f.live.closeWhere(() => true, 'DRAINED');
    assert.deepEqual([f.live.size, f.ends().length], [0, 100]);
    assert.ok(relays.every(({ ended }) => ended));
  });
});

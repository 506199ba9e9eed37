import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { Metadata } from '@grpc/grpc-js';
import { ManualClock, silentLogger } from '#/kit/index.ts';
import { encodeDeltaRequest } from '#/wire/index.ts';
import { DeltaServer } from './delta-server.ts';
import type { XdsResource } from './resource-source.ts';
import { ResourceTable, resourceVersion } from './resource-table.ts';

const address = 'type.googleapis.com/istio.workload.Address';

const resource = (name: string, text = name): XdsResource => {
  const bytes = Buffer.from(text);
  return { name, version: resourceVersion(bytes), resource: bytes };
};

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !done(); i++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(done(), 'did not happen');
}

/** As much of a gRPC call as the server uses. */
class FakeCall extends EventEmitter {
  readonly metadata = new Metadata();
  readonly cancelled = false;
  readonly written: Buffer[] = [];
  getPeer = () => 'fake';
  getAuthContext = () => ({});
  sendMetadata = () => {};
  end = () => {};
  write(bytes: Buffer, done: () => void): void {
    this.written.push(bytes);
    setImmediate(done);
  }
}

test('the cost of a change does not grow with the mesh, and its bytes are made once for all clients', async () => {
  const table = new ResourceTable();
  table.apply({ upserts: Array.from({ length: 20_000 }, (_, i) => resource(`n${i}`)) });
  let asked = 0;
  let walked = 0;
  const source = {
    get: (name: string) => (asked++, table.get(name)),
    all: () => (walked++, table.all()),
    lookup: (name: string) => table.lookup(name),
    members: (group: string) => table.members(group),
    onChange: (callback: (changed: ReadonlySet<string>) => void) => table.onChange(callback),
  };
  using delta = new DeltaServer<string>({
    authenticate: () => Promise.resolve('caller'),
    sources: new Map([[address, source]]),
    log: silentLogger,
    clock: new ManualClock(),
  });
  let accept: ((call: FakeCall) => void) | undefined;
  delta.addTo({
    addService: (_definition: unknown, handlers: { deltaAggregatedResources: (call: FakeCall) => void }) => {
      accept = handlers.deltaAggregatedResources;
    },
  } as never);
  const calls = Array.from({ length: 300 }, () => new FakeCall());
  for (const call of calls) accept?.(call);
  await until(() => delta.status().length === 300);
  const send = (call: FakeCall, request: { responseNonce?: string }) =>
    call.emit('data', Buffer.from(encodeDeltaRequest({ typeUrl: address, node: { id: 'n' }, ...request })));
  for (const call of calls) send(call, {});
  await until(() => calls.every((call) => call.written.length === 1));
  assert.equal(walked, 1);
  for (const [i, call] of calls.entries())
    send(call, { responseNonce: delta.status()[i]?.types[0]?.sentNonce ?? '' });
  walked = 0;
  asked = 0;
  table.apply({ upserts: [resource('n7', 'changed')], removed: ['n8'] });
  delta.flush();
  await until(() => calls.every((call) => call.written.length === 2));
  assert.equal(walked, 0);
  assert.equal(asked, 2);
  assert.ok(calls.every((call) => (call.written[1]?.length ?? 0) < 300));
});

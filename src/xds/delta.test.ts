// Both ends together: whatever happens on the way, the client ends up with what the server has.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Server, type ServerDuplexStream } from '@grpc/grpc-js';
import { seeded } from '../../fuzz/random.ts';
import { silentLogger, systemClock } from '#/kit/index.ts';
import { DeltaClient } from './delta-client.ts';
import { DeltaServer, xdsServerOptions } from './delta-server.ts';
import { ResourceTable, resourceVersion } from './resource-table.ts';
import { bind } from './scripted.ts';

const address = 'type.googleapis.com/istio.workload.Address';
const policy = 'type.googleapis.com/istio.security.Authorization';

const turn = () => new Promise((resolve) => setTimeout(resolve, 1));

for (const seed of [1, 2, 3])
  suite(`a client of a mesh that changes at random, seed ${seed}`, () => {
    for (const kind of ['wildcard', 'on-demand'] as const)
      test(`has it all in the end, ${kind}, though streams break and pushes are refused`, async () => {
        const random = seeded(seed);
        const tables = new Map([
          [address, new ResourceTable()],
          [policy, new ResourceTable()],
        ]);
        const calls = new Set<ServerDuplexStream<Buffer, Buffer>>();
        using delta = new DeltaServer<string>({
          authenticate: () => Promise.resolve('caller'),
          sources: tables,
          debounce: { afterMs: 1, maxMs: 3 },
          log: silentLogger,
        });
        const server = new Server(xdsServerOptions());
        // Streams are noted down on their way in, so that they can be broken.
        const add = server.addService.bind(server);
        server.addService = (definition, handlers) => {
          const { deltaAggregatedResources: handle } = handlers as never as Record<
            string,
            (call: never) => void
          >;
          add(definition, {
            deltaAggregatedResources: (call: ServerDuplexStream<Buffer, Buffer>) => {
              calls.add(call);
              call.on('close', () => calls.delete(call));
              handle?.(call as never);
            },
          });
        };
        delta.addTo(server);
        const port = await bind(server);
        const held = new Map([
          [address, new Map<string, string>()],
          [policy, new Map<string, string>()],
        ]);
        let refusing = true;
        const stop = new AbortController();
        const client = new DeltaClient({
          address: `http://127.0.0.1:${port}`,
          rootCert: () => undefined,
          token: () => undefined,
          node: { id: 'node', metadata: {} },
          types: [{ typeUrl: address, onDemand: kind === 'on-demand' }, policy],
          log: silentLogger,
          clock: { ...systemClock, sleep: () => turn().then(() => undefined) },
          onPush({ typeUrl, upserts, removed }) {
            const mine = held.get(typeUrl);
            const refused = upserts.filter(() => refusing && random.oneIn(20));
            for (const one of upserts)
              if (!refused.includes(one)) mine?.set(one.name, Buffer.from(one.resource).toString());
            for (const name of removed) mine?.delete(name);
            return refused.map(({ name }) => ({ name, reason: 'a whim' }));
          },
        });
        client.start(stop.signal);
        if (kind === 'on-demand')
          client.subscribe(
            address,
            Array.from({ length: 40 }, (_, i) => `n${i}`),
          );
        for (let step = 0; step < 150; step++) {
          for (const table of tables.values()) {
            const names = Array.from({ length: random.below(4) }, () => `n${random.below(40)}`);
            const upserts = names.map((name) => {
              const resource = Buffer.from(`${name}:${random.below(1000)}`);
              return { name, version: random.oneIn(9) ? '' : resourceVersion(resource), resource };
            });
            table.apply({ upserts, removed: random.oneIn(3) ? [`n${random.below(40)}`] : [] });
          }
          if (random.oneIn(12)) for (const call of calls) call.emit('error', { code: 14, details: 'broken' });
          if (random.oneIn(3)) await turn();
        }
        refusing = false;
        // What was refused is sent again after a reconnection.
        for (const call of calls) call.emit('error', { code: 14, details: 'broken' });
        const told = (typeUrl: string) =>
          [...(held.get(typeUrl) ?? [])].map(([name, text]) => `${name}=${text}`).sort();
        const had = (typeUrl: string) =>
          [...(tables.get(typeUrl)?.all() ?? [])]
            .map(({ name, resource }) => `${name}=${Buffer.from(resource).toString()}`)
            .sort();
        const equal = () =>
          [address, policy].every(
            (typeUrl) => JSON.stringify(told(typeUrl)) === JSON.stringify(had(typeUrl)),
          );
        for (let i = 0; i < 1000 && !equal(); i++) await turn();
        for (const typeUrl of [address, policy]) assert.deepEqual(told(typeUrl), had(typeUrl));
        stop.abort();
        server.forceShutdown();
      });
  });

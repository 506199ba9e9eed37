// The proxies of `npm run bench -- control`: bare clients of delta xDS in a process of their own. They take in a first
// push without looking into it, and tell when a named workload comes.
import { Client, credentials, Metadata, type ClientDuplexStream } from '@grpc/grpc-js';
import {
  addressTypeUrl,
  decodeDeltaResponse,
  deltaMethodPath,
  encodeDeltaRequest,
} from '../src/wire/index.ts';
import { now } from './control-cluster.ts';

export type ClientsReport =
  /** So many clients have the whole mesh. */
  | {
      readonly kind: 'synced';
      readonly clients: number;
      readonly resources: number;
      readonly bytes: number;
      readonly at: number;
    }
  /** One client has got a delta with this workload. */
  | { readonly kind: 'delta'; readonly name: string; readonly at: number };

const same = (value: Buffer): Buffer => value;

function varint(bytes: Buffer, at: number): { value: number; next: number } {
  let value = 0;
  for (let shift = 0, i = at; ; shift += 7, i++) {
    const byte = bytes[i] as number;
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return { value, next: i + 1 };
  }
}

/** How many resources a response holds, and its nonce, without decoding any. */
function scan(response: Buffer): { resources: number; nonce: string } {
  let resources = 0;
  let nonce = '';
  for (let at = 0; at < response.length;) {
    const tag = varint(response, at);
    const length = varint(response, tag.next);
    const field = tag.value >> 3;
    if (field === 2) resources++;
    else if (field === 5) nonce = response.toString('utf8', length.next, length.next + length.value);
    at = length.next + length.value;
  }
  return { resources, nonce };
}

function connect(
  address: string,
  id: number,
  onFirst: (resources: number, bytes: number) => void,
  onDelta: (name: string) => void,
): void {
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 512 * 1024 * 1024,
    'grpc.use_local_subchannel_pool': 1,
  });
  const call: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
    deltaMethodPath,
    same,
    same,
    new Metadata(),
  );
  const send = (request: Parameters<typeof encodeDeltaRequest>[0]) =>
    call.write(Buffer.from(encodeDeltaRequest(request)));
  let first = true;
  call.on('error', (error) => {
    process.stderr.write(`client ${id}: ${error.message}\n`);
    process.exit(1);
  });
  call.on('data', (data: Buffer) => {
    const { resources, nonce } = scan(data);
    send({ typeUrl: addressTypeUrl, responseNonce: nonce });
    if (first) {
      first = false;
      onFirst(resources, data.length);
    } else for (const { name } of decodeDeltaResponse(data).resources) onDelta(name);
  });
  send({
    typeUrl: addressTypeUrl,
    node: {
      id: `ztunnel~10.0.0.1~ztunnel-${id}.istio-system~istio-system.svc.cluster.local`,
      metadata: { NODE_NAME: `node-${id}` },
    },
  });
}

if (process.argv[1] === import.meta.filename) {
  const [address = '', count = '1'] = process.argv.slice(2);
  const clients = Number(count);
  const report = (message: ClientsReport): void => void process.send?.(message);
  let synced = 0;
  const join = (id: number): void =>
    connect(
      address,
      id,
      (resources, bytes) => {
        synced++;
        report({ kind: 'synced', clients: synced, resources, bytes, at: now() });
        // One after another, four at a time: a thousand at once is another bench.
        if (id + 4 < clients) join(id + 4);
      },
      (name) => report({ kind: 'delta', name, at: now() }),
    );
  for (let id = 0; id < Math.min(4, clients); id++) join(id);
  process.on('disconnect', () => process.exit(0));
}

// What is fuzzed: every parser of bytes that a peer has written. A target throws when the parser breaks its promise;
// refusing the input in the promised way is fine. Seeds are in corpus/<target>/, one hexadecimal file each, named
// after what it shows; a crash that was found and mended is added there and stays.
import assert from 'node:assert/strict';
import { ApiError } from '../src/apiserver/api-error.ts';
import { ProtobufReader } from '../src/apiserver/schema/protobuf.ts';
import { loadBuiltinTypes } from '../src/apiserver/schema/schema.ts';
import { uriNames } from '../src/identity/san.ts';
import {
  decodeAck,
  decodeAddress,
  decodeCertificateRequest,
  decodeDeltaRequest,
  decodeDeltaResponse,
  decodeHello,
  decodePolicy,
  decodeWaypointResource,
  decodeWorkloadRequest,
  encodeAck,
  encodeAddress,
  encodePolicy,
  encodeWaypointResource,
  encodeWorkloadRequest,
  WireError,
  zdsMaxBytes,
} from '../src/wire/index.ts';
import { runDnsMessage } from './dns-message.ts';
import { runChunks, runH1Client, runH1Server, runPath, runSniff, seedH1Server } from './h1.ts';
import { runH2Requests, seedH2Requests } from './h2-requests.ts';
import { runH2, runHpack, seedH2, seedHpack } from './h2.ts';
import type { Random } from './random.ts';
import { randomPolicy, randomService, randomWorkload } from './random-records.ts';

export interface Target {
  readonly name: string;
  /** More seeds than the corpus has. */
  seed?(random: Random): Uint8Array;
  /** Throws AssertionError, or what the parser threw against its promise. */
  run(input: Uint8Array): void;
}

/** Refuses only with WireError; what it takes is the same after a round trip. */
function decoder<T>(
  name: string,
  decode: (bytes: Uint8Array) => T,
  encode?: (value: T) => Uint8Array,
  seed?: (random: Random) => Uint8Array,
): Target {
  return {
    name,
    ...(seed && { seed }),
    run(input) {
      let value: T;
      try {
        value = decode(input);
      } catch (error) {
        if (error instanceof WireError) return;
        throw error;
      }
      if (encode) assert.deepEqual(decode(encode(value)), value);
    },
  };
}

const apiBodies = new ProtobufReader(loadBuiltinTypes());

/** A body in protobuf that a client sends to the embedded API: refused as its own fault, or an object. */
function runApiProtobuf(input: Uint8Array): void {
  try {
    apiBodies.decode(apiBodies.envelope(Buffer.from(input)), 'Pod');
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 400) throw error;
  }
}

export const targets: readonly Target[] = [
  { name: 'api-protobuf', run: runApiProtobuf },
  decoder('address', decodeAddress, encodeAddress, (random) =>
    encodeAddress(random.oneIn(2) ? randomWorkload(random) : randomService(random)),
  ),
  decoder('policy', decodePolicy, encodePolicy, (random) => encodePolicy(randomPolicy(random))),
  decoder('waypoint-resource', decodeWaypointResource, encodeWaypointResource),
  decoder(
    'zds-request',
    (bytes) => decodeWorkloadRequest(bytes.subarray(0, zdsMaxBytes)),
    encodeWorkloadRequest,
  ),
  decoder('zds-hello', decodeHello),
  decoder('zds-ack', decodeAck, encodeAck),
  decoder('delta-request', decodeDeltaRequest),
  decoder('delta-response', decodeDeltaResponse),
  decoder('certificate-request', decodeCertificateRequest),
  {
    name: 'certificate-names',
    run(input) {
      try {
        for (const name of uriNames(input)) assert.match(name, /^[!-~]*$/);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
    },
  },
  { name: 'dns-message', run: runDnsMessage },
  {
    name: 'h2-server',
    seed: (random) => seedH2('server', random),
    run: (input) => runH2('server', input),
  },
  {
    name: 'h2-client',
    seed: (random) => seedH2('client', random),
    run: (input) => runH2('client', input),
  },
  { name: 'h2-requests', seed: seedH2Requests, run: runH2Requests },
  { name: 'hpack', seed: seedHpack, run: runHpack },
  { name: 'h1-server', seed: seedH1Server, run: runH1Server },
  { name: 'h1-client', run: runH1Client },
  { name: 'h1-chunks', run: runChunks },
  { name: 'sniff', run: runSniff },
  { name: 'http-path', run: runPath },
];

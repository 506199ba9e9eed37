// What istioctl asks over gRPC: the state of the proxies (`proxy-status`, `version`), and debug pages by name
// (`x internal-debug`). State-of-the-world xDS, on the port and with the credentials of the proxies.
import type { Server, ServerDuplexStream } from '@grpc/grpc-js';
import { errorText } from '#/errors/index.ts';
import { callFacts, grpcError, RpcError, type CallFacts } from '#/identity/index.ts';
import type { Logger } from '#/kit/index.ts';
import {
  clientConfigTypeUrl,
  debugTypeUrl,
  decodeDiscoveryRequest,
  encodeClientConfig,
  encodeDiscoveryResponse,
  streamMethodPath,
  syncStatusTypeUrl,
  WireError,
  type DiscoveryAnswer,
  type DiscoveryRequest,
} from '#/wire/index.ts';
import type { ConnectionStatus } from '#/xds/index.ts';
import type { Caller } from './caller.ts';
import { parseNodeId } from './node-identity.ts';
import { metadataText, proxyVersion } from './sync-status.ts';

export interface StatusStreamOptions {
  readonly authenticate: (call: CallFacts) => Promise<Caller>;
  readonly connections: () => readonly ConnectionStatus[];
  /** The body of `/debug/<name>`; undefined if there is no such page. */
  readonly debugPage: (path: string) => Promise<string | undefined>;
  /** Callers of other namespaces see the proxies of their own, and no debug pages. */
  readonly systemNamespace: string;
  readonly clusterId: string;
  readonly identifier: string;
  readonly log: Logger;
}

type Call = ServerDuplexStream<Buffer, Buffer>;

/** Requests of one stream: a client that asks without end is cut off. */
const maxRequests = 1000;

export class StatusStream {
  readonly #options: StatusStreamOptions;
  #nonce = 0;

  constructor(options: StatusStreamOptions) {
    this.#options = options;
  }

  addTo(server: Server): void {
    const same = (value: Buffer): Buffer => value;
    server.addService(
      {
        streamAggregatedResources: {
          path: streamMethodPath,
          requestStream: true,
          responseStream: true,
          requestSerialize: same,
          requestDeserialize: same,
          responseSerialize: same,
          responseDeserialize: same,
        },
      },
      { streamAggregatedResources: (call: Call) => void this.#serve(call) },
    );
  }

  async #serve(call: Call): Promise<void> {
    // Without a listener, a client that goes away would end the process.
    call.on('error', () => {});
    let caller: Caller;
    try {
      caller = await this.#options.authenticate(callFacts(call));
    } catch (error) {
      this.#fail(call, error);
      return;
    }
    let requests = 0;
    const given = new Set<string>();
    // Not `for await`: leaving its loop by an error destroys the call before the error's status can be sent.
    call.on('data', (bytes: Buffer) => {
      // One at a time, in order.
      call.pause();
      requests++;
      this.#respond(call, caller, bytes, requests, given).then(
        () => call.resume(),
        (error: unknown) => this.#fail(call, error),
      );
    });
    call.on('end', () => call.end());
  }

  async #respond(
    call: Call,
    caller: Caller,
    bytes: Uint8Array,
    requests: number,
    given: Set<string>,
  ): Promise<void> {
    if (requests > maxRequests) throw new RpcError('RESOURCE_EXHAUSTED', 'too many requests in one stream');
    const request = decodeDiscoveryRequest(bytes);
    // An acknowledgement needs no answer. istioctl puts a nonce of its own, the time, into its first request.
    if (given.has(request.responseNonce)) return;
    const answer = await this.#answer(caller, request);
    given.add(answer.nonce);
    if (!call.cancelled) call.write(Buffer.from(encodeDiscoveryResponse(answer)));
  }

  #fail(call: Call, error: unknown): void {
    if (call.cancelled) return;
    const known =
      error instanceof WireError ? new RpcError('INVALID_ARGUMENT', error.message, { cause: error }) : error;
    if (!(known instanceof RpcError))
      this.#options.log.error('a status stream has failed', {
        peer: call.getPeer(),
        error: errorText(error),
      });
    call.emit('error', grpcError(known));
  }

  async #answer(caller: Caller, request: DiscoveryRequest): Promise<DiscoveryAnswer> {
    return {
      typeUrl: request.typeUrl,
      nonce: String(++this.#nonce),
      controlPlane: this.#options.identifier,
      resources: await this.#resources(caller, request),
    };
  }

  async #resources(
    caller: Caller,
    { typeUrl, resourceNames }: DiscoveryRequest,
  ): Promise<DiscoveryAnswer['resources']> {
    const { systemNamespace, debugPage } = this.#options;
    const operator = caller.namespace === systemNamespace;
    switch (typeUrl) {
      case syncStatusTypeUrl:
        return this.#clientConfigs(operator ? undefined : caller.namespace);
      case debugTypeUrl: {
        const [name] = resourceNames;
        if (name === undefined || resourceNames.length !== 1)
          throw new RpcError('INVALID_ARGUMENT', 'exactly one debug page can be asked for');
        if (!operator)
          throw new RpcError('PERMISSION_DENIED', `debug pages are for identities of ${systemNamespace}`);
        const body = await debugPage(name);
        if (body === undefined) throw new RpcError('NOT_FOUND', `no debug page "${name}"; see "list"`);
        return [{ typeUrl, value: Buffer.from(body) }];
      }
      default:
        throw new RpcError(
          'UNIMPLEMENTED',
          `${typeUrl} is not served here; proxies of ambient use delta xDS`,
        );
    }
  }

  #clientConfigs(namespace: string | undefined): DiscoveryAnswer['resources'] {
    return this.#options
      .connections()
      .filter(({ nodeId }) => namespace === undefined || parseNodeId(nodeId)?.namespace === namespace)
      .map((connection) => ({
        typeUrl: clientConfigTypeUrl,
        value: encodeClientConfig({
          // `name.namespace`, the part that istioctl shows and matches.
          nodeId: connection.nodeId.split('~')[2] ?? connection.nodeId,
          metadata: {
            CLUSTER_ID: metadataText(connection, 'CLUSTER_ID') || this.#options.clusterId,
            NAMESPACE: parseNodeId(connection.nodeId)?.namespace ?? '',
            ISTIO_VERSION: proxyVersion(connection),
          },
          types: connection.types.map((type) => ({
            typeUrl: type.typeUrl,
            state: type.state,
            ...(type.lastSentMs === undefined ? {} : { updated: type.lastSentMs }),
            ...(type.error === undefined ? {} : { error: type.error }),
          })),
        }),
      }));
  }
}

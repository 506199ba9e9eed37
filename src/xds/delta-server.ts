// The server of delta xDS.
import type { Server, ServerOptions } from '@grpc/grpc-js';
import type { CallFacts } from '#/identity/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { Node } from '#/wire/index.ts';
import type { ResourceSource } from './resource-source.ts';

export interface DeltaServerOptions<Caller> {
  /** Who calls. Throw RpcError('UNAUTHENTICATED', …) to refuse. */
  authenticate(call: CallFacts): Promise<Caller>;
  /** May this caller be this node? Throw RpcError('PERMISSION_DENIED', …) to refuse. */
  checkNode?(caller: Caller, node: Node): void;
  /** By type URL. The order is the order of the types within one push. */
  readonly sources: ReadonlyMap<string, ResourceSource>;
  /** Groups whose members an on-demand client of this node gets without asking. */
  implicitGroups?(typeUrl: string, node: Node): readonly string[];
  /** ControlPlane.identifier in responses. */
  readonly identifier?: string;
  readonly debounce?: { readonly afterMs: number; readonly maxMs: number };
  readonly maxConnections?: number;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface TypeStatus {
  readonly typeUrl: string;
  readonly wildcard: boolean;
  /** Names asked for on demand. */
  readonly subscribed: number;
  /** `synced`: all that is known was acknowledged. `stale`: something is under way or waiting. */
  readonly state: 'synced' | 'stale' | 'rejected' | 'never-sent';
  readonly sentNonce?: string;
  readonly ackedNonce?: string;
  /** Text of the last NACK, until a later response is accepted. */
  readonly error?: string;
  readonly lastSentMs?: number;
  readonly lastAckedMs?: number;
  readonly nacks: number;
}

export interface ConnectionStatus {
  readonly id: number;
  readonly nodeId: string;
  readonly peer: string;
  readonly connectedMs: number;
  readonly types: readonly TypeStatus[];
}

export class DeltaServer<Caller> implements Disposable {
  readonly options: DeltaServerOptions<Caller>;
  constructor(options: DeltaServerOptions<Caller>) {
    this.options = options;
  }
  /** Adds the service to a gRPC server that is not started yet. */
  addTo(_server: Server): void {
    throw new Error('not implemented');
  }
  status(): readonly ConnectionStatus[] {
    throw new Error('not implemented');
  }
  /** Pushes now what the debounce still holds back. */
  flush(): void {
    throw new Error('not implemented');
  }
  /** Ends every stream with UNAVAILABLE. */
  [Symbol.dispose](): void {}
}

/** Options for `new grpc.Server(…)`: keepalive, connection age, receive limit. */
export function xdsServerOptions(_o?: {
  maxReceiveBytes?: number;
  maxConnectionAgeMs?: number;
}): ServerOptions {
  throw new Error('not implemented');
}

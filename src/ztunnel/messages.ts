// What the main thread and the data workers say to each other. Plain data only: it crosses by structured clone.
import type { LogLevel } from '#/kit/index.ts';
import type { Certificate } from '#/identity/index.ts';
import type { Identity } from '#/model/index.ts';
import type { MirrorDelta, MirrorRequest } from '#/state/index.ts';
import type { MetricDelta, TrafficDelta } from '#/telemetry/index.ts';
import type { ZtunnelConfig } from './config.ts';

/** A pod as the node agent names it. `netnsFd` is owned by the main thread, valid until the pod is removed. */
export interface PodStart {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly netnsFd: number;
}

export interface WorkerInit {
  readonly config: ZtunnelConfig;
  readonly index: number;
  /** Whether the application may be dialled from its client's address. */
  readonly preserveSource: boolean;
}

export type ToWorker =
  | { readonly type: 'add-pod'; readonly pod: PodStart }
  | { readonly type: 'remove-pod'; readonly uid: string }
  | { readonly type: 'mirror'; readonly delta: MirrorDelta }
  | { readonly type: 'certificate'; readonly certificate: Certificate }
  | { readonly type: 'certificate-failed'; readonly identity: Identity; readonly message: string }
  | { readonly type: 'forget-certificate'; readonly identity: Identity }
  | { readonly type: 'report'; readonly id: number }
  | { readonly type: 'log-level'; readonly level: LogLevel }
  | { readonly type: 'drain'; readonly deadlineMs: number };

export type FromWorker =
  | { readonly type: 'pod-up'; readonly uid: string }
  | { readonly type: 'pod-failed'; readonly uid: string; readonly message: string }
  | { readonly type: 'pod-removed'; readonly uid: string }
  | { readonly type: 'mirror-request'; readonly request: MirrorRequest }
  | { readonly type: 'need-certificate'; readonly identity: Identity }
  | { readonly type: 'log'; readonly text: string; readonly lines: number }
  | { readonly type: 'report'; readonly id: number; readonly report: WorkerReport }
  | { readonly type: 'drained' };

export interface ConnectionReport {
  readonly pod: string;
  readonly direction: 'inbound' | 'outbound';
  readonly src: string;
  /** Outbound: the address that the client asked for. Inbound: the service that was meant, if it is known. */
  readonly originalDst: string | null;
  readonly actualDst: string;
  readonly protocol: 'HBONE' | 'TCP' | 'DOUBLEHBONE';
}

export interface WorkerReport {
  readonly traffic: TrafficDelta;
  /** What is counted apart from connections. */
  readonly metrics: MetricDelta;
  readonly connections: readonly ConnectionReport[];
  readonly mirrorEvictions: number;
}

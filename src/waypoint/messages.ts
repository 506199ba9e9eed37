// What the main thread and the data workers say to each other. Plain data only: it crosses by structured clone.
import type { LogLevel } from '#/kit/index.ts';
import type { Certificate } from '#/identity/index.ts';
import type { Identity, WaypointResource } from '#/model/index.ts';
import type { MirrorDelta, MirrorRequest } from '#/state/index.ts';
import type { WaypointConfig } from './config.ts';
import type { FinishedSpan } from './tracing/index.ts';
import type { WorkerReport } from './worker/report.ts';

export interface WorkerInit {
  readonly config: WaypointConfig;
  readonly index: number;
}

export interface ResourceDelta {
  readonly upserts: readonly WaypointResource[];
  /** Names as on the wire. */
  readonly removed: readonly string[];
}

export type ToWorker =
  | { readonly type: 'mirror'; readonly delta: MirrorDelta }
  | { readonly type: 'resources'; readonly delta: ResourceDelta }
  /** What the control plane has for this waypoint is complete: requests may be judged by it. */
  | { readonly type: 'configured' }
  | { readonly type: 'listen' }
  | { readonly type: 'certificate'; readonly certificate: Certificate }
  | { readonly type: 'certificate-failed'; readonly identity: Identity; readonly message: string }
  | { readonly type: 'report'; readonly id: number }
  | { readonly type: 'log-level'; readonly level: LogLevel }
  | { readonly type: 'drain'; readonly deadlineMs: number };

export type FromWorker =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'mirror-request'; readonly request: MirrorRequest }
  | { readonly type: 'need-certificate'; readonly identity: Identity }
  | { readonly type: 'log'; readonly text: string; readonly lines: number }
  /** Lines of access logs that go to a file of their own. */
  | { readonly type: 'file-log'; readonly path: string; readonly text: string; readonly lines: number }
  | { readonly type: 'spans'; readonly provider: string; readonly spans: readonly FinishedSpan[] }
  | { readonly type: 'report'; readonly id: number; readonly report: WorkerReport }
  | { readonly type: 'drained' };

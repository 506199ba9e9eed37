// What requests on objects can be told, and what they give.
import type { TokenUser } from './objects.ts';

export interface Selectors {
  /** `app=web,tier!=db` */
  readonly labelSelector?: string | undefined;
  /** `spec.nodeName=a` */
  readonly fieldSelector?: string | undefined;
}

export interface ListOptions extends Selectors {
  readonly namespace?: string | undefined;
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: 'Exact' | 'NotOlderThan';
  readonly signal?: AbortSignal | undefined;
}

export interface ListResult<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  readonly continue?: string;
}

export interface WatchOptions extends Selectors {
  readonly namespace?: string | undefined;
  readonly resourceVersion?: string;
  readonly allowBookmarks?: boolean;
  /** Seconds after which the server ends the watch. */
  readonly timeoutSeconds?: number;
  readonly signal?: AbortSignal | undefined;
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface WriteOptions {
  readonly subresource?: string;
  readonly fieldManager?: string;
  readonly dryRun?: boolean;
  readonly fieldValidation?: 'Strict' | 'Warn' | 'Ignore';
  readonly signal?: AbortSignal | undefined;
}

export interface PatchOptions extends WriteOptions {
  /** Only for `apply`: takes fields from other managers. */
  readonly force?: boolean;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly signal?: AbortSignal | undefined;
}

export type PatchType = 'merge' | 'strategic' | 'json' | 'apply';

export type TokenReviewResult =
  | { readonly authenticated: true; readonly user: TokenUser; readonly audiences: readonly string[] }
  | { readonly authenticated: false; readonly error: string };

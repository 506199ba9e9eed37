// What Istio leaves to EnvoyFilter, as an object of our own: limits of rate and size, external processing.
import type { Attachment } from './attachment.ts';
import type { ProviderAddress } from './provider.ts';
import type { HttpMatch } from './route.ts';

export interface LocalRateLimit {
  /** The bucket's size, and what is put in every `intervalMs`. */
  readonly maxTokens: number;
  readonly tokensPerFill: number;
  readonly intervalMs: number;
  /** `connection`: a bucket for each client connection; `waypoint`: one for each worker's share of the waypoint. */
  readonly per: 'waypoint' | 'connection';
  readonly match?: HttpMatch;
  readonly status: number;
}

/** One entry of a descriptor; as Envoy's rate-limit actions. */
export type DescriptorAction =
  | { readonly kind: 'generic-key'; readonly key: string; readonly value: string }
  | {
      readonly kind: 'request-header';
      readonly header: string;
      readonly key: string;
      readonly skipIfAbsent: boolean;
    }
  | { readonly kind: 'remote-address' }
  | { readonly kind: 'source-principal'; readonly key: string }
  | { readonly kind: 'path' | 'method'; readonly key: string };

export interface GlobalRateLimit {
  readonly server: ProviderAddress;
  readonly domain: string;
  readonly descriptors: readonly (readonly DescriptorAction[])[];
  readonly timeoutMs: number;
  /** The server cannot be reached: let the request pass. Default false. */
  readonly failOpen: boolean;
  readonly match?: HttpMatch;
}

export type ProcessingMode = 'NONE' | 'BUFFERED' | 'STREAMED';

export interface ExternalProcessing {
  readonly server: ProviderAddress;
  readonly timeoutMs: number;
  readonly failOpen: boolean;
  readonly requestHeaders: boolean;
  readonly responseHeaders: boolean;
  readonly requestBody: ProcessingMode;
  readonly responseBody: ProcessingMode;
}

export interface TrafficPolicy extends Attachment {
  readonly kind: 'traffic-policy';
  /** `ns/name`. */
  readonly name: string;
  readonly localRateLimits: readonly LocalRateLimit[];
  readonly globalRateLimits: readonly GlobalRateLimit[];
  readonly externalProcessing?: ExternalProcessing;
  /** Bytes; 413 and 502 beyond them. */
  readonly maxRequestBodyBytes?: number;
  readonly maxResponseBodyBytes?: number;
}

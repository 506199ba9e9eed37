// A filter of the user's own, written in TypeScript or JavaScript.
import type { Attachment } from './attachment.ts';

export const extensionPhases = ['AUTHN', 'AUTHZ', 'STATS', 'UNSPECIFIED'] as const;
/** Where in the chain it runs, as Istio's TrafficExtension: before tokens are read, before authorization, last, before the router. */
export type ExtensionPhase = (typeof extensionPhases)[number];

export interface Extension extends Attachment {
  readonly kind: 'extension';
  /** `ns/name`. */
  readonly name: string;
  readonly phase: ExtensionPhase;
  /** Within a phase: higher first. */
  readonly priority: number;
  /** The source text of the module; the control plane has read it from the object or a ConfigMap. */
  readonly module: string;
  readonly language: 'typescript' | 'javascript';
  /** Handed to the module as it is. */
  readonly config: unknown;
  readonly onFailure: 'refuse' | 'skip';
  /** For one call. */
  readonly timeoutMs: number;
  readonly memoryMb: number;
}

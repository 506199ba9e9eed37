// Who writes, to which kind and how strictly; and what came of it.
import type { User } from '../serving/call.ts';
import type { Kind } from '../kinds/kind.ts';
import type { Stored } from '../store/collection.ts';

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

export interface WriteRequest {
  readonly kind: Kind;
  readonly namespace: string;
  readonly user: User;
  readonly manager: string;
  readonly dryRun: boolean;
  readonly fieldValidation: FieldValidation;
  readonly warn: (text: string) => void;
}

export interface Written {
  readonly stored: Stored;
  readonly created: boolean;
  /** False if the object was equal to what is stored. */
  readonly changed: boolean;
}

/** Namespaces that are there from the start and cannot be deleted. */
export const eternalNamespaces: ReadonlySet<string> = new Set(['default', 'kube-system', 'kube-public']);

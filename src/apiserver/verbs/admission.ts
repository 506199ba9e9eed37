// What webhooks are asked: the form in which a write is put to those who may change or refuse it.
import type { User } from '../serving/call.ts';
import type { Item } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';

export interface AdmissionRequest {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  readonly subresource: string;
  readonly user: User;
  readonly dryRun: boolean;
  readonly item: Item | undefined;
  readonly old: Item | undefined;
  readonly warn: (text: string) => void;
}

/** Webhooks and policies. Absent, or undefined from `mutate`, when nothing concerns this request. */
export interface Admission {
  /** Gives the changed object. */
  mutate(request: AdmissionRequest): Promise<Item> | undefined;
  validate(request: AdmissionRequest): Promise<void> | undefined;
}

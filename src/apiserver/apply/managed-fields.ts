// Who owns which field.
import type { Item } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';

export interface WriteOrigin {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  /** Of the request. */
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
}

export function trackFields(_kind: Kind, old: Item | undefined, item: Item, _origin: WriteOrigin): void {
  if (old?.metadata.managedFields !== undefined) item.metadata.managedFields ??= old.metadata.managedFields;
}

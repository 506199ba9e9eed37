// The table columns of the built-in kinds, as `kubectl get` and `-o wide` show them.
import type { Column } from '../kinds/kind.ts';
import { clusterColumns } from './cluster-columns.ts';
import { column, name } from './column-parts.ts';
import { coreColumns } from './core-columns.ts';
import { workloadColumns } from './workload-columns.ts';

/** By collection name. Kinds that are not here have `defaultColumns`. */
export const builtinColumns: Readonly<Record<string, readonly Column[]>> = {
  ...coreColumns,
  ...workloadColumns,
  ...clusterColumns,
};

export const defaultColumns: readonly Column[] = [
  name,
  column('Created At', (item) => item.metadata.creationTimestamp ?? ''),
];

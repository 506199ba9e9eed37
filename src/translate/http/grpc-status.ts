// Statuses of gRPC by their names (google.rpc.Code).
import { grpcStatusNames } from '#/model/index.ts';

const names: readonly string[] = grpcStatusNames;

/** 0 to 16, by name or number; undefined if it is none. */
export function grpcStatusNumber(text: string): number | undefined {
  const named = names.indexOf(text.toUpperCase());
  if (named >= 0) return named;
  return /^(?:[0-9]|1[0-6])$/.test(text) ? Number(text) : undefined;
}

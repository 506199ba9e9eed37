// Statuses of gRPC by their names (google.rpc.Code).

const names = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

/** 0 to 16, by name or number; undefined if it is none. */
export function grpcStatusNumber(text: string): number | undefined {
  const named = names.indexOf(text.toUpperCase());
  if (named >= 0) return named;
  return /^(?:[0-9]|1[0-6])$/.test(text) ? Number(text) : undefined;
}

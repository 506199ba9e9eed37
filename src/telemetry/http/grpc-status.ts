// Names of gRPC's status codes, by number.

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
] as const;

// OK, Canceled and the acronyms are written as Envoy writes them.
const camelNames = names.map((name) => {
  if (name === 'OK') return 'OK';
  if (name === 'CANCELLED') return 'Canceled';
  return name
    .split('_')
    .map((word) => `${word[0]}${word.slice(1).toLowerCase()}`)
    .join('');
});

/** `INVALID_ARGUMENT`; the number for a code that has no name. */
export const grpcSnakeName = (status: number): string => names[status] ?? String(status);
/** `InvalidArgument`; the number for a code that has no name. */
export const grpcCamelName = (status: number): string => camelNames[status] ?? String(status);

// Names of gRPC's status codes, by number.
import { grpcStatusNames as names } from '#/model/index.ts';

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

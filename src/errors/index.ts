// errors: the registry of error codes. Owns the text, likely cause, response flag and log level of each.
// Imports kit (types only). Must not know who raises an error or where it is printed.
export * from './registry.ts';

// One request on its way through the server, and how it is answered.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { badRequest } from '../api-error.ts';

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly user: User;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export const jsonType = 'application/json';

export function send(response: ServerResponse, code: number, body: string, type = jsonType): void {
  if (response.headersSent || response.destroyed) return;
  const bytes = Buffer.from(body, 'utf8');
  response.writeHead(code, {
    'content-type': type,
    'content-length': bytes.length,
    'cache-control': 'no-cache, private',
  });
  response.end(bytes);
}

export function sendValue(response: ServerResponse, code: number, value: unknown): void {
  send(response, code, `${JSON.stringify(value)}\n`);
}

/** A warning that kubectl shows to its user. */
export function warn(response: ServerResponse, text: string): void {
  // Header values are Latin-1 without control characters.
  const clean = text.replace(/[^\x20-\x7e]/g, '?').slice(0, 1000);
  response.appendHeader('warning', `299 - "${clean.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`);
}

export function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value === 'true' || value === '1' || (value === '' && query.has(name));
}

export function isDryRun(query: URLSearchParams, fromBody?: unknown): boolean {
  const values = [...query.getAll('dryRun'), ...(Array.isArray(fromBody) ? fromBody.map(String) : [])].filter(
    (value) => value !== '',
  );
  for (const value of values)
    if (value !== 'All') throw badRequest(`dryRun: Unsupported value: "${value}": supported values: "All"`);
  return values.length > 0;
}

/** Who is written into managedFields: what the client says, or the first word of its user agent. */
export function managerOf(call: Call): string {
  const said = call.query.get('fieldManager');
  if (said !== null && said !== '') {
    if (said.length > 128) throw badRequest('fieldManager: Too long: may not be more than 128 bytes');
    return said;
  }
  const agent = call.request.headers['user-agent'] ?? 'unknown';
  return agent.split('/')[0]?.slice(0, 128) || 'unknown';
}

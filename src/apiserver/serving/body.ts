// Reads and checks what a client sends, before any of it is believed: size, text, depth, syntax.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { badRequest, tooLarge, unsupportedMediaType } from '../api-error.ts';
import { isObject, type Json, type JsonObject } from '../json.ts';

/** As upstream: the largest request body. */
export const maxBody = 3 * 1024 * 1024;
/** No kind comes near it; deeper ones are attacks on whatever walks over them. */
const maxDepth = 128;

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0);
  if (declared > maxBody) throw tooLarge(maxBody);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBody) throw tooLarge(maxBody);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

const jsonTypes = new Set([
  '',
  'application/json',
  'application/merge-patch+json',
  'application/json-patch+json',
  'application/strategic-merge-patch+json',
  // curl's habit when it is given data and no type.
  'application/x-www-form-urlencoded',
]);
const yamlTypes = new Set([
  'application/yaml',
  'application/apply-patch+yaml',
  'text/yaml',
  'application/x-yaml',
]);

export const mediaType = (request: IncomingMessage): string =>
  (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';

/** Parses a body of the type its header names. Throws 400, 413 or 415. */
export async function parseBody(bytes: Buffer, type: string): Promise<Json> {
  if (!isUtf8(bytes)) throw badRequest('the body is not valid UTF-8');
  if (jsonTypes.has(type)) return parseJson(bytes);
  if (!yamlTypes.has(type)) throw unsupportedMediaType('application/json, application/yaml');
  // What clients send as YAML is JSON as a rule, and that is far faster to read.
  if (bytes[0] === 0x7b) {
    try {
      return parseJson(bytes);
    } catch (error) {
      if (
        !(error instanceof SyntaxError) &&
        !(error instanceof Error && error.message.startsWith('the body is not JSON'))
      )
        throw error;
    }
  }
  const { parseDocument } = await import('yaml');
  const document = parseDocument(bytes.toString('utf8'), { maxAliasCount: 100, schema: 'core' } as never);
  const problem = document.errors[0];
  if (problem !== undefined) throw badRequest(`the body is not YAML: ${problem.message.split('\n')[0]}`);
  let value: Json;
  try {
    value = document.toJS({ maxAliasCount: 100 }) as Json;
  } catch (error) {
    throw badRequest(`the body is not YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
  checkDepth(Buffer.from(JSON.stringify(value) ?? 'null'));
  return value;
}

function parseJson(bytes: Buffer): Json {
  checkDepth(bytes);
  try {
    return JSON.parse(bytes.toString('utf8')) as Json;
  } catch (error) {
    throw badRequest(`the body is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Counts brackets outside strings: cheaper than parsing, and done before it. */
function checkDepth(bytes: Buffer): void {
  let depth = 0;
  let inText = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inText) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inText = false;
    } else if (byte === 0x22) inText = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > maxDepth) throw badRequest(`the body is nested more than ${maxDepth} levels deep`);
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}

export function asObject(value: Json): JsonObject {
  if (!isObject(value)) throw badRequest('the body is not an object');
  return value;
}

// Bodies in protobuf, as typed clients in Go send them for built-in kinds: read into the JSON form by the table of
// field numbers. Answers are JSON, which all those clients take too.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { badRequest } from '../api-error.ts';
import { setField, type Json, type JsonObject } from '../json.ts';
import type { Schema } from './schema.ts';

export const protobufType = 'application/vnd.kubernetes.protobuf';
const magic = Buffer.from('k8s\0');
/** No kind is nested deeper. */
const maxDepth = 64;

interface Field {
  readonly name: string;
  readonly schema: Schema;
  /** A zero that is there means zero. */
  readonly pointer: boolean;
  readonly required: boolean;
}

/** By number. `inline`: the message's fields belong to the object around it. */
interface Message {
  readonly fields: ReadonlyMap<number, Field>;
  readonly inline: ReadonlyMap<number, string>;
}

export interface Envelope {
  readonly apiVersion: string;
  readonly kind: string;
  readonly raw: Buffer;
}

/** Types whose bytes are JSON text. */
const rawTypes = new Set(['FieldsV1', 'RawExtension']);

export class ProtobufReader {
  readonly #types: ReadonlyMap<string, Schema>;
  #messages: Map<string, Message> | undefined;

  constructor(types: ReadonlyMap<string, Schema>) {
    this.#types = types;
  }

  /** Throws 400. */
  envelope(bytes: Buffer): Envelope {
    if (!bytes.subarray(0, 4).equals(magic))
      throw badRequest('the body is not in the protobuf form of Kubernetes');
    let apiVersion = '';
    let kind = '';
    let raw = Buffer.alloc(0);
    read(bytes.subarray(4), (number, value) => {
      if (number === 1 && Buffer.isBuffer(value))
        read(value, (inner, text) => {
          if (inner === 1) apiVersion = String(text);
          else if (inner === 2) kind = String(text);
        });
      else if (number === 2 && Buffer.isBuffer(value)) raw = Buffer.from(value);
    });
    return { apiVersion, kind, raw };
  }

  /** The object in its JSON form. Throws 400 for bytes that are no such message. */
  decode(envelope: Envelope, typeName: string): JsonObject {
    const schema = this.#types.get(typeName);
    if (schema === undefined) throw badRequest(`${envelope.kind} is not known in protobuf`);
    return {
      kind: envelope.kind,
      apiVersion: envelope.apiVersion,
      ...this.#object(envelope.raw, typeName, schema, 0),
    };
  }

  #object(bytes: Buffer, typeName: string, schema: Schema, depth: number, into: JsonObject = {}): JsonObject {
    if (depth > maxDepth) throw badRequest(`the body is nested more than ${maxDepth} levels deep`);
    const message = this.#tables().get(typeName);
    if (message === undefined) throw badRequest(`${typeName} is not known in protobuf`);
    read(bytes, (number, value) => {
      const inlined = message.inline.get(number);
      if (inlined !== undefined) {
        if (Buffer.isBuffer(value)) this.#object(value, inlined, schema, depth + 1, into);
        return;
      }
      const field = message.fields.get(number);
      if (field !== undefined) this.#field(into, field, value, depth);
    });
    return into;
  }

  #field(into: JsonObject, field: Field, value: WireValue, depth: number): void {
    const { name, schema } = field;
    if (schema.type === 'array') {
      const list = (into[name] ??= []) as Json[];
      const items = schema.items as Schema;
      if (items.type === 'integer' && Buffer.isBuffer(value)) {
        // Packed.
        for (let at = 0; at < value.length;) {
          const [number, next] = varint(value, at);
          list.push(Number(BigInt.asIntN(64, number)));
          at = next;
        }
        return;
      }
      const entry = this.#value(items, value, depth);
      list.push(entry ?? null);
      return;
    }
    if (
      schema.type === 'object' &&
      typeof schema.additionalProperties === 'object' &&
      schema.properties === undefined
    ) {
      const map = (into[name] ??= {}) as JsonObject;
      if (!Buffer.isBuffer(value)) return;
      let key = '';
      let entry: Json | undefined;
      const inner = schema.additionalProperties;
      read(value, (number, part) => {
        if (number === 1) key = String(part);
        else if (number === 2) entry = this.#value(inner, part, depth);
      });
      setField(map, key, entry ?? (inner.type === 'array' ? [] : ''));
      return;
    }
    const decoded = this.#value(schema, value, depth);
    if (decoded === undefined) return;
    // Go writes zeros that were never set; only those behind a pointer mean something.
    const isZero = decoded === '' || decoded === 0 || decoded === false;
    if (isZero && !field.pointer && !field.required) return;
    into[name] = decoded;
  }

  #value(schema: Schema, value: WireValue, depth: number): Json | undefined {
    const { typeName } = schema;
    if (typeName !== undefined) {
      if (!Buffer.isBuffer(value)) throw badRequest('the body is not in the protobuf form of its kind');
      if (rawTypes.has(typeName)) return rawJson(value, 1);
      return this.#object(value, typeName, schema, depth + 1);
    }
    switch (schema.type) {
      case undefined:
        return Buffer.isBuffer(value) ? this.#free(value, depth) : undefined;
      case 'boolean':
        return value !== 0n;
      case 'integer':
        return typeof value === 'bigint' ? Number(BigInt.asIntN(64, value)) : undefined;
      case 'number':
        return Buffer.isBuffer(value) && value.length === 8 ? value.readDoubleLE(0) : undefined;
      case 'array': {
        // A list inside a map: a message with the list as field 1.
        const list: Json[] = [];
        if (Buffer.isBuffer(value))
          read(value, (number, part) => {
            if (number === 1) list.push(this.#value(schema.items as Schema, part, depth) ?? null);
          });
        return list;
      }
      case 'object':
        return {};
      case 'string':
        return this.#text(schema, value);
    }
  }

  #text(schema: Schema, value: WireValue): Json | undefined {
    if (!Buffer.isBuffer(value)) return undefined;
    switch (schema.format) {
      case 'byte':
        return value.toString('base64');
      case 'date-time': {
        let seconds = 0n;
        let nanos = 0n;
        read(value, (number, part) => {
          if (typeof part !== 'bigint') return;
          if (number === 1) seconds = BigInt.asIntN(64, part);
          else if (number === 2) nanos = BigInt.asIntN(32, part);
        });
        if (seconds === 0n && nanos === 0n) return undefined;
        const date = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
        return nanos === 0n ? `${date}Z` : `${date}.${String(nanos / 1000n).padStart(6, '0')}Z`;
      }
      case 'quantity': {
        let text = '';
        read(value, (number, part) => {
          if (number === 1) text = String(part);
        });
        return text;
      }
      case 'int-or-string': {
        let type = 0n;
        let whole = 0n;
        let text = '';
        read(value, (number, part) => {
          if (number === 1 && typeof part === 'bigint') type = part;
          else if (number === 2 && typeof part === 'bigint') whole = BigInt.asIntN(32, part);
          else if (number === 3) text = String(part);
        });
        return type === 0n ? Number(whole) : text;
      }
      default:
        return value.toString('utf8');
    }
  }

  /** Values of any form: JSON text in field 1, or one of the unions of CustomResourceDefinition schemas. */
  #free(value: Buffer, depth: number): Json | undefined {
    const json = rawJson(value, 1);
    if (json !== undefined) return json;
    const schema = this.#types.get('JSONSchemaProps') as Schema;
    const list: Json[] = [];
    let allows: boolean | undefined;
    let single: JsonObject | undefined;
    read(value, (number, part) => {
      if (typeof part === 'bigint') allows = part !== 0n;
      else if (Buffer.isBuffer(part)) {
        // JSONSchemaPropsOrArray has its schema in field 1, JSONSchemaPropsOrBool in field 2.
        if (number === 1 || allows !== undefined)
          single = this.#object(part, 'JSONSchemaProps', schema, depth + 1);
        else list.push(this.#object(part, 'JSONSchemaProps', schema, depth + 1));
      }
    });
    return single ?? (list.length > 0 ? list : allows);
  }

  #tables(): ReadonlyMap<string, Message> {
    if (this.#messages !== undefined) return this.#messages;
    const text = readFileSync(fileURLToPath(new URL('./proto-numbers.txt', import.meta.url)), 'utf8');
    const messages = new Map<string, Message>();
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const split = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
    );
    /** An inlined message's fields are described by the type it is part of. */
    const build = (name: string, body: string, schema: Schema): Message => {
      const fields = new Map<number, Field>();
      const inline = new Map<number, string>();
      for (const word of body.split(' ')) {
        const match = /^(\*?)([^=]+)=([0-9]+)(&?)$/.exec(word);
        if (match === null) continue;
        const [, star, field = '', number, pointer] = match;
        if (star === '*') {
          const part = `${name}/${field}`;
          inline.set(Number(number), part);
          messages.set(part, build(part, split.get(field) ?? '', schema));
          continue;
        }
        const found = schema.properties?.[field];
        if (found !== undefined)
          fields.set(Number(number), {
            name: field,
            schema: found,
            pointer: pointer === '&',
            required: schema.required?.includes(field) === true,
          });
      }
      return { fields, inline };
    };
    for (const [name, body] of split) {
      const schema = this.#types.get(name);
      if (schema !== undefined) messages.set(name, build(name, body, schema));
    }
    return (this.#messages = messages);
  }
}

type WireValue = bigint | Buffer;

function varint(bytes: Buffer, start: number): [bigint, number] {
  let value = 0n;
  let shift = 0n;
  for (let at = start; at < bytes.length && shift < 70n; at++) {
    const byte = bytes[at] as number;
    value |= BigInt(byte & 0x7f) << shift;
    if ((byte & 0x80) === 0) return [BigInt.asUintN(64, value), at + 1];
    shift += 7n;
  }
  throw badRequest('the body is cut off or not protobuf');
}

function read(bytes: Buffer, field: (number: number, value: WireValue) => void): void {
  let at = 0;
  while (at < bytes.length) {
    const [tag, next] = varint(bytes, at);
    const number = Number(tag >> 3n);
    at = next;
    let length: number;
    switch (Number(tag & 7n)) {
      case 0: {
        const [value, end] = varint(bytes, at);
        field(number, value);
        at = end;
        continue;
      }
      case 1:
        length = 8;
        break;
      case 2: {
        const [size, start] = varint(bytes, at);
        length = Number(size);
        at = start;
        break;
      }
      case 5:
        length = 4;
        break;
      default:
        throw badRequest('the body is not protobuf');
    }
    if (at + length > bytes.length) throw badRequest('the body is cut off or not protobuf');
    field(number, bytes.subarray(at, at + length));
    at += length;
  }
}

function rawJson(bytes: Buffer, wanted: number): Json | undefined {
  let out: Json | undefined;
  read(bytes, (number, value) => {
    if (number !== wanted || !Buffer.isBuffer(value)) return;
    try {
      out = JSON.parse(value.toString('utf8')) as Json;
    } catch {
      // One of the other unions.
    }
  });
  return out;
}

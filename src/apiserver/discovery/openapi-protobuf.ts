// An OpenAPI v2 document in the protobuf form (message openapi.v2.Document) that kubectl asks for. Only writing, and
// only the messages that our documents have.

class Writer {
  #parts: Buffer[] = [];
  #size = 0;

  varint(field: number, value: number): void {
    this.#push(encodeVarint((field << 3) | 0), encodeVarint(value));
  }

  text(field: number, value: unknown): void {
    if (typeof value !== 'string' || value === '') return;
    this.bytes(field, Buffer.from(value, 'utf8'));
  }

  flag(field: number, value: unknown): void {
    if (value === true) this.varint(field, 1);
  }

  bytes(field: number, value: Buffer): void {
    this.#push(encodeVarint((field << 3) | 2), encodeVarint(value.length), value);
  }

  message(field: number, fill: (writer: Writer) => void): void {
    const inner = new Writer();
    fill(inner);
    this.bytes(field, inner.finish());
  }

  double(field: number, value: unknown): void {
    if (typeof value !== 'number') return;
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    this.#push(encodeVarint((field << 3) | 1), bytes);
  }

  count(field: number, value: unknown): void {
    if (typeof value === 'number' && value > 0) this.varint(field, value);
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts, this.#size);
  }

  #push(...parts: Buffer[]): void {
    for (const part of parts) {
      this.#parts.push(part);
      this.#size += part.length;
    }
  }
}

function encodeVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

type Doc = Readonly<Record<string, unknown>>;
const isDoc = (value: unknown): value is Doc =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Any: its text is YAML, and so is JSON. */
const any = (writer: Writer, value: unknown): void => writer.text(2, JSON.stringify(value));

function extensions(writer: Writer, field: number, doc: Doc): void {
  for (const [name, value] of Object.entries(doc)) {
    if (!name.startsWith('x-')) continue;
    writer.message(field, (named) => {
      named.text(1, name);
      named.message(2, (inner) => any(inner, value));
    });
  }
}

function schema(writer: Writer, doc: Doc): void {
  writer.text(1, doc['$ref']);
  writer.text(2, doc['format']);
  writer.text(3, doc['title']);
  writer.text(4, doc['description']);
  if (doc['default'] !== undefined) writer.message(5, (inner) => any(inner, doc['default']));
  writer.double(6, doc['multipleOf']);
  writer.double(7, doc['maximum']);
  writer.flag(8, doc['exclusiveMaximum']);
  writer.double(9, doc['minimum']);
  writer.flag(10, doc['exclusiveMinimum']);
  writer.count(11, doc['maxLength']);
  writer.count(12, doc['minLength']);
  writer.text(13, doc['pattern']);
  writer.count(14, doc['maxItems']);
  writer.count(15, doc['minItems']);
  writer.flag(16, doc['uniqueItems']);
  writer.count(17, doc['maxProperties']);
  writer.count(18, doc['minProperties']);
  if (Array.isArray(doc['required'])) for (const name of doc['required']) writer.text(19, name);
  if (Array.isArray(doc['enum']))
    for (const value of doc['enum']) writer.message(20, (inner) => any(inner, value));
  const additional = doc['additionalProperties'];
  if (isDoc(additional))
    writer.message(21, (inner) => inner.message(1, (nested) => schema(nested, additional)));
  else if (typeof additional === 'boolean')
    writer.message(21, (inner) => inner.varint(2, additional ? 1 : 0));
  if (typeof doc['type'] === 'string') writer.message(22, (inner) => inner.text(1, doc['type']));
  const { items } = doc;
  if (isDoc(items)) writer.message(23, (inner) => inner.message(1, (nested) => schema(nested, items)));
  if (isDoc(doc['properties'])) writer.message(25, (inner) => namedSchemas(inner, doc['properties'] as Doc));
  extensions(writer, 31, doc);
}

function namedSchemas(writer: Writer, doc: Doc): void {
  for (const [name, value] of Object.entries(doc))
    writer.message(1, (named) => {
      named.text(1, name);
      named.message(2, (inner) => schema(inner, value as Doc));
    });
}

function parameter(writer: Writer, doc: Doc): void {
  // ParametersItem.parameter
  writer.message(1, (item) => {
    if (doc['in'] === 'body') {
      item.message(1, (body) => {
        body.text(2, doc['name']);
        body.text(3, 'body');
        body.flag(4, doc['required']);
        body.message(5, (inner) => schema(inner, doc['schema'] as Doc));
      });
      return;
    }
    item.message(2, (other) =>
      other.message(3, (query) => {
        query.text(2, 'query');
        query.text(4, doc['name']);
        query.text(6, doc['type']);
        query.flag(20, doc['uniqueItems']);
      }),
    );
  });
}

function operation(writer: Writer, doc: Doc): void {
  writer.text(5, doc['operationId']);
  if (Array.isArray(doc['consumes'])) for (const type of doc['consumes']) writer.text(7, type);
  if (Array.isArray(doc['parameters']))
    for (const each of doc['parameters']) writer.message(8, (inner) => parameter(inner, each as Doc));
  const responses = doc['responses'];
  if (isDoc(responses))
    writer.message(9, (inner) => {
      for (const [code, response] of Object.entries(responses))
        inner.message(1, (named) => {
          named.text(1, code);
          named.message(2, (value) =>
            value.message(1, (plain) => {
              plain.text(1, (response as Doc)['description']);
              const type = (response as Doc)['schema'];
              if (isDoc(type)) plain.message(2, (item) => item.message(1, (nested) => schema(nested, type)));
            }),
          );
        });
    });
  extensions(writer, 13, doc);
}

const verbFields: Readonly<Record<string, number>> = { get: 2, put: 3, post: 4, delete: 5, patch: 8 };

export function encodeOpenApiV2(document: Doc): Buffer {
  const writer = new Writer();
  writer.text(1, document['swagger']);
  writer.message(2, (info) => {
    info.text(1, (document['info'] as Doc)['title']);
    info.text(2, (document['info'] as Doc)['version']);
  });
  writer.message(8, (paths) => {
    for (const [path, item] of Object.entries(document['paths'] as Doc))
      paths.message(2, (named) => {
        named.text(1, path);
        named.message(2, (inner) => {
          for (const [verb, doc] of Object.entries(item as Doc)) {
            const field = verbFields[verb];
            if (field !== undefined) inner.message(field, (nested) => operation(nested, doc as Doc));
          }
        });
      });
  });
  writer.message(9, (definitions) => namedSchemas(definitions, document['definitions'] as Doc));
  return writer.finish();
}

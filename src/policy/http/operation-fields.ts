// The fields of `to`: what is asked for.
import type { HttpOperation, PathTemplate, StringMatch } from '#/model/index.ts';
import {
  anyText,
  brokenField,
  fieldsOf,
  showMatch,
  textShape,
  type Field,
  type FieldShape,
} from './field.ts';
import { compilePathTemplate } from './path-template.ts';

export const portShape = (name: string): FieldShape<number> => ({
  name,
  any: (ports) => (view) => ports.includes(view.connection.destination.port),
  show: String,
  got: (view) => String(view.connection.destination.port),
});

const methodShape = textShape('methods', (view) => view.request?.method, { httpOnly: true });

const lower = (match: StringMatch): StringMatch =>
  match.kind === 'presence' ? match : { ...match, value: match.value.toLowerCase() };

/**
 * Without regard to case. A value is compared with the authority as sent and with its host alone, so that a port added
 * by the client does not lead past a rule; upstream compares with the authority as sent only.
 */
const hostShape: FieldShape<StringMatch> = {
  name: 'hosts',
  httpOnly: true,
  any(matches) {
    const test = anyText(matches.map(lower));
    return (view) => view.request !== undefined && (test(view.authority) || test(view.host));
  },
  show: showMatch,
  got: (view) => view.authority,
};

/** Of the canonical path without its query. For gRPC it is `/package.Service/Method`. */
const pathShape: FieldShape<StringMatch | PathTemplate> = {
  name: 'paths',
  httpOnly: true,
  any(matches) {
    const texts = anyText(matches.filter((match) => match.kind !== 'template'));
    const templates = matches.flatMap((match) => {
      const test = match.kind === 'template' ? compilePathTemplate(match.value) : undefined;
      return test === undefined ? [] : [test];
    });
    if (templates.length === 0) return ({ request }) => request !== undefined && texts(request.path);
    return ({ request }) => {
      if (request === undefined) return false;
      if (texts(request.path)) return true;
      for (const test of templates) if (test(request.path)) return true;
      return false;
    };
  },
  show: (match) => (match.kind === 'template' ? match.value : showMatch(match)),
  got: (view) => view.request?.path ?? '',
};

export function operationFields(operation: HttpOperation): Field[] {
  const { paths } = operation;
  const malformed = [...(paths?.values ?? []), ...(paths?.notValues ?? [])].find(
    (match) => match.kind === 'template' && compilePathTemplate(match.value) === undefined,
  );
  return [
    ...fieldsOf(portShape('ports'), operation.ports),
    ...fieldsOf(methodShape, operation.methods),
    ...(malformed === undefined
      ? fieldsOf(pathShape, paths)
      : [brokenField('paths', `"${pathShape.show(malformed)}" is not a path template`)]),
    ...fieldsOf(hostShape, operation.hosts),
  ];
}

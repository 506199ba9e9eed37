// The kinds with few rules: namespaces, nodes, configuration, accounts, events, slices, requests to sign.
import { causeForbidden, causeInvalid, causeNotSupported, causeRequired, type Cause } from '../api-error.ts';
import { dig, digText, equal, formatTime, isObject, type Item, type JsonObject } from '../json.ts';
import type { KindRules } from './kind.ts';

export const namespaceRules: KindRules = {
  nameForm: 'label',
  defaults(item) {
    (item.metadata.labels ??= {})['kubernetes.io/metadata.name'] = item.metadata.name;
  },
  create(item) {
    item.spec = { finalizers: ['kubernetes'] };
    item.status = { phase: 'Active' };
  },
  update(item, old) {
    // Only the finalize subresource changes these.
    if (old.spec === undefined) delete item.spec;
    else item.spec = old.spec;
  },
  selectable: (item) => ({ 'status.phase': digText(item, 'status', 'phase') }),
  selectablePaths: ['status.phase'],
};

export const nodeRules: KindRules = {
  create(item) {
    item.spec ??= {};
    item.status ??= {};
  },
  selectable: (item) => ({ 'spec.unschedulable': String(item.spec?.['unschedulable'] === true) }),
  selectablePaths: ['spec.unschedulable'],
};

const keyPattern = /^[-._a-zA-Z0-9]+$/;

function dataCauses(item: Item, fields: readonly string[]): Cause[] {
  const causes: Cause[] = [];
  let size = 0;
  const seen = new Set<string>();
  for (const field of fields) {
    const data = item[field];
    if (!isObject(data)) continue;
    for (const [key, value] of Object.entries(data)) {
      if (key.length > 253 || !keyPattern.test(key) || key === '.' || key === '..')
        causes.push(
          causeInvalid(
            `${field}[${key}]`,
            key,
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
          ),
        );
      if (seen.has(key))
        causes.push(causeInvalid(`${field}[${key}]`, key, 'duplicate of key present in data'));
      seen.add(key);
      size += String(value).length;
    }
  }
  if (size > 1.4e6)
    causes.push({
      reason: 'FieldValueTooLong',
      message: 'Too long: may not be more than 1048576 bytes',
      field: 'data',
    });
  return causes;
}

function immutableCauses(item: Item, old: Item | undefined, fields: readonly string[]): Cause[] {
  if (old?.['immutable'] !== true) return [];
  const causes: Cause[] = [];
  if (item['immutable'] !== true)
    causes.push(causeForbidden('immutable', 'field is immutable when `immutable` is set'));
  for (const field of fields)
    if (!equal(item[field] ?? {}, old[field] ?? {}))
      causes.push(causeForbidden(field, 'field is immutable when `immutable` is set'));
  return causes;
}

export const configMapRules: KindRules = {
  validate: (item, old) => [
    ...dataCauses(item, ['data', 'binaryData']),
    ...immutableCauses(item, old, ['data', 'binaryData']),
  ],
};

export const secretRules: KindRules = {
  defaults(item) {
    item['type'] ??= 'Opaque';
    const plain = item['stringData'];
    if (isObject(plain)) {
      const data = isObject(item['data']) ? item['data'] : {};
      for (const [key, value] of Object.entries(plain))
        data[key] = Buffer.from(String(value)).toString('base64');
      item['data'] = data;
      delete item['stringData'];
    }
  },
  validate(item, old) {
    const causes = [...dataCauses(item, ['data']), ...immutableCauses(item, old, ['data'])];
    if (old !== undefined && old['type'] !== item['type'])
      causes.push(causeInvalid('type', item['type'], 'field is immutable'));
    const needed: Readonly<Record<string, readonly string[]>> = {
      'kubernetes.io/tls': ['tls.crt', 'tls.key'],
      'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
      'kubernetes.io/ssh-auth': ['ssh-privatekey'],
    };
    for (const key of needed[String(item['type'])] ?? [])
      if (dig(item, 'data', key) === undefined) causes.push(causeRequired(`data[${key}]`));
    return causes;
  },
  selectable: (item) => ({ type: digText(item, 'type') }),
  selectablePaths: ['type'],
};

const eventFields = [
  'involvedObject.kind',
  'involvedObject.namespace',
  'involvedObject.name',
  'involvedObject.uid',
  'involvedObject.apiVersion',
  'involvedObject.resourceVersion',
  'involvedObject.fieldPath',
];

export const eventRules: KindRules = {
  validate(item) {
    const namespace = digText(item, 'involvedObject', 'namespace');
    const own = item.metadata.namespace;
    if (namespace === '' ? own !== 'default' && own !== 'kube-system' : namespace !== own)
      return [causeInvalid('involvedObject.namespace', namespace, 'does not match event.namespace')];
    return [];
  },
  selectable(item) {
    const out: Record<string, string> = {
      reason: digText(item, 'reason'),
      type: digText(item, 'type'),
      source: digText(item, 'source', 'component') || digText(item, 'reportingComponent'),
      reportingComponent: digText(item, 'reportingComponent'),
    };
    for (const path of eventFields) {
      const value = digText(item, ...path.split('.'));
      out[path] = value;
      out[path.replace('involvedObject', 'regarding')] = value;
    }
    return out;
  },
  selectablePaths: [
    ...eventFields,
    'reason',
    'type',
    'source',
    'reportingComponent',
    ...eventFields.map((path) => path.replace('involvedObject', 'regarding')),
  ],
};

/** Field names of events.k8s.io/v1 ↔ those of the core group, in which events are stored. */
const eventNames: readonly (readonly [string, string])[] = [
  ['regarding', 'involvedObject'],
  ['note', 'message'],
  ['reportingController', 'reportingComponent'],
  ['deprecatedSource', 'source'],
  ['deprecatedFirstTimestamp', 'firstTimestamp'],
  ['deprecatedLastTimestamp', 'lastTimestamp'],
  ['deprecatedCount', 'count'],
];

function rename(item: Item, from: 0 | 1, to: 0 | 1): void {
  for (const pair of eventNames) {
    const value = item[pair[from]];
    if (value === undefined) continue;
    delete item[pair[from]];
    item[pair[to]] = value;
  }
}

export const eventConversion = {
  toStorage: (item: Item): void => rename(item, 0, 1),
  fromStorage: (item: Item): void => rename(item, 1, 0),
};

export const endpointSliceRules: KindRules = {
  validate(item, old) {
    const causes: Cause[] = [];
    const type = item['addressType'];
    if (!['IPv4', 'IPv6', 'FQDN'].includes(String(type)))
      causes.push(
        type === undefined
          ? causeRequired('addressType')
          : causeNotSupported('addressType', type, ['FQDN', 'IPv4', 'IPv6']),
      );
    if (old !== undefined && old['addressType'] !== type)
      causes.push(causeInvalid('addressType', type, 'field is immutable'));
    return causes;
  },
};

export const leaseRules: KindRules = {
  validate(item) {
    const seconds = dig(item.spec, 'leaseDurationSeconds');
    return typeof seconds === 'number' && seconds <= 0
      ? [causeInvalid('spec.leaseDurationSeconds', seconds, 'must be greater than 0')]
      : [];
  },
};

export const withGeneration: KindRules = { generation: true };

export const rbacRules: KindRules = { nameForm: 'path' };

export const roleBindingRules: KindRules = {
  nameForm: 'path',
  defaults(item) {
    const subjects = item['subjects'];
    if (!Array.isArray(subjects)) return;
    for (const subject of subjects as JsonObject[])
      if (subject['apiGroup'] === undefined)
        subject['apiGroup'] = subject['kind'] === 'ServiceAccount' ? '' : 'rbac.authorization.k8s.io';
    for (const subject of subjects as JsonObject[])
      if (subject['apiGroup'] === '') delete subject['apiGroup'];
  },
  validate: (item, old) =>
    old !== undefined && !equal(old['roleRef'], item['roleRef'])
      ? [causeInvalid('roleRef', item['roleRef'], 'cannot change roleRef')]
      : [],
};

export const csrRules: KindRules = {
  create(item, _context, user) {
    // Who asks is what the server knows, not what the request says.
    item.spec = {
      ...item.spec,
      username: user.name,
      groups: [...user.groups],
      ...(user.uid === undefined ? {} : { uid: user.uid }),
      ...(user.extra === undefined ? {} : { extra: structuredClone(user.extra) as unknown as JsonObject }),
    };
    item.status = {};
  },
  update(item, old) {
    // A request is what was asked for, for good.
    if (old.spec !== undefined) item.spec = old.spec;
  },
  validate(item) {
    const causes: Cause[] = [];
    if (digText(item.spec, 'request') === '') causes.push(causeRequired('spec.request'));
    if (digText(item.spec, 'signerName') === '') causes.push(causeRequired('spec.signerName'));
    return causes;
  },
  selectable: (item) => ({ 'spec.signerName': digText(item, 'spec', 'signerName') }),
  selectablePaths: ['spec.signerName'],
};

export const claimRules: KindRules = {
  create(item) {
    item.status = { phase: 'Pending' };
  },
};

export const priorityClassRules: KindRules = { generation: false };

export const podDisruptionBudgetRules: KindRules = {
  generation: true,
  create(item) {
    item.status = { currentHealthy: 0, desiredHealthy: 0, disruptionsAllowed: 0, expectedPods: 0 };
  },
};

export const apiServiceRules: KindRules = {
  create(item, context) {
    item.status = {
      conditions: [
        {
          type: 'Available',
          status: 'True',
          reason: 'Local',
          message: 'Local APIServices are always available',
          lastTransitionTime: formatTime(context.now()),
        },
      ],
    };
  },
};

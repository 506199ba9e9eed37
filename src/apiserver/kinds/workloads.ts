// Kinds that make pods from a template: Deployment, ReplicaSet, DaemonSet, StatefulSet, Job, CronJob.
import { causeInvalid, causeRequired, type Cause } from '../api-error.ts';
import { dig, digText, equal, isObject, type Item, type JsonObject } from '../json.ts';
import { matches, parseSelectorObject } from '../store/selectors.ts';
import type { KindRules } from './kind.ts';
import { checkLabels } from './metadata.ts';
import { podSpecCauses, podSpecDefaults } from './pod.ts';

function templateCauses(item: Item, field = 'spec'): Cause[] {
  const template = dig(item.spec, 'template');
  const causes = podSpecCauses(dig(template, 'spec'), `${field}.template.spec`);
  const labels = dig(template, 'metadata', 'labels') as Record<string, string> | undefined;
  causes.push(...checkLabels(`${field}.template.metadata.labels`, labels));
  return causes;
}

/** A selector that does not select the template's pods would make pods without end. */
function selectorCauses(item: Item, old: Item | undefined): Cause[] {
  const selector = dig(item.spec, 'selector');
  const requirements = parseSelectorObject(selector);
  if (!isObject(selector)) return [causeRequired('spec.selector')];
  if (requirements.length === 0)
    return [causeInvalid('spec.selector', selector, 'empty selector is invalid for deployment')];
  const labels = dig(item.spec, 'template', 'metadata', 'labels') as Record<string, string> | undefined;
  const causes: Cause[] = [];
  if (!matches(requirements, labels))
    causes.push(
      causeInvalid(
        'spec.template.metadata.labels',
        labels ?? {},
        '`selector` does not match template `labels`',
      ),
    );
  if (old !== undefined && !equal(dig(old.spec, 'selector'), selector))
    causes.push(causeInvalid('spec.selector', selector, 'field is immutable'));
  return causes;
}

const part = (object: JsonObject, key: string): JsonObject => {
  if (!isObject(object[key])) object[key] = {};
  return object[key];
};

const templateDefaults = (item: Item): void => podSpecDefaults(dig(item.spec, 'template', 'spec'));

const restartAlways = (item: Item): Cause[] => {
  const policy = dig(item.spec, 'template', 'spec', 'restartPolicy');
  return policy === undefined || policy === 'Always'
    ? []
    : [
        {
          reason: 'FieldValueNotSupported',
          message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "Always"`,
          field: 'spec.template.spec.restartPolicy',
        },
      ];
};

const replicaCauses = (item: Item): Cause[] => {
  const replicas = dig(item.spec, 'replicas');
  return typeof replicas === 'number' && replicas < 0
    ? [causeInvalid('spec.replicas', replicas, 'must be greater than or equal to 0')]
    : [];
};

const standard = (item: Item, old: Item | undefined): Cause[] => [
  ...templateCauses(item),
  ...selectorCauses(item, old),
  ...restartAlways(item),
  ...replicaCauses(item),
];

const dropStatus = (item: Item): void => {
  delete item.status;
};

export const deploymentRules: KindRules = {
  generation: true,
  defaults(item) {
    if (item.spec === undefined) return;
    templateDefaults(item);
    const strategy = part(item.spec, 'strategy');
    strategy['type'] ??= 'RollingUpdate';
    if (strategy['type'] === 'RollingUpdate') {
      const rolling = part(strategy, 'rollingUpdate');
      rolling['maxUnavailable'] ??= '25%';
      rolling['maxSurge'] ??= '25%';
    }
  },
  create: dropStatus,
  validate: standard,
};

export const replicaSetRules: KindRules = {
  generation: true,
  defaults: templateDefaults,
  create(item) {
    item.status = { replicas: 0 };
  },
  validate: standard,
  selectable: (item) => ({ 'status.replicas': String(item.status?.['replicas'] ?? 0) }),
  selectablePaths: ['status.replicas'],
};

export const daemonSetRules: KindRules = {
  generation: true,
  defaults(item) {
    if (item.spec === undefined) return;
    templateDefaults(item);
    const strategy = part(item.spec, 'updateStrategy');
    strategy['type'] ??= 'RollingUpdate';
    if (strategy['type'] === 'RollingUpdate') {
      const rolling = part(strategy, 'rollingUpdate');
      rolling['maxUnavailable'] ??= 1;
      rolling['maxSurge'] ??= 0;
    }
  },
  create(item) {
    item.status = {
      currentNumberScheduled: 0,
      desiredNumberScheduled: 0,
      numberMisscheduled: 0,
      numberReady: 0,
    };
  },
  validate: standard,
};

export const statefulSetRules: KindRules = {
  generation: true,
  defaults(item) {
    if (item.spec === undefined) return;
    templateDefaults(item);
    const strategy = part(item.spec, 'updateStrategy');
    strategy['type'] ??= 'RollingUpdate';
    if (strategy['type'] === 'RollingUpdate') part(strategy, 'rollingUpdate')['partition'] ??= 0;
  },
  create(item) {
    item.status = { replicas: 0, availableReplicas: 0 };
  },
  validate: standard,
};

export const replicationControllerRules: KindRules = {
  generation: true,
  defaults(item) {
    templateDefaults(item);
    const labels = dig(item.spec, 'template', 'metadata', 'labels');
    if (item.spec !== undefined && isObject(labels)) item.spec['selector'] ??= { ...labels };
  },
  create(item) {
    item.status = { replicas: 0 };
  },
  validate: (item) => [...templateCauses(item), ...replicaCauses(item)],
};

const jobRestart = (item: Item, path: readonly string[]): Cause[] => {
  const policy = digText(item, ...path, 'restartPolicy');
  return policy === 'OnFailure' || policy === 'Never'
    ? []
    : [
        {
          reason: 'FieldValueRequired',
          message: 'Required value: valid values: "OnFailure", "Never"',
          field: `${path.join('.')}.restartPolicy`,
        },
      ];
};

export const jobRules: KindRules = {
  generation: true,
  defaults(item) {
    const { spec } = item;
    if (spec === undefined) return;
    templateDefaults(item);
    if (spec['completions'] === undefined && spec['parallelism'] === undefined) spec['completions'] = 1;
    spec['parallelism'] ??= 1;
  },
  create(item) {
    delete item.status;
    const { spec, metadata } = item;
    if (spec === undefined || spec['manualSelector'] === true) return;
    // The server chooses a selector that only this job's pods have.
    const own: Record<string, string> = {
      'batch.kubernetes.io/controller-uid': metadata.uid ?? '',
      'batch.kubernetes.io/job-name': metadata.name,
      'controller-uid': metadata.uid ?? '',
      'job-name': metadata.name,
    };
    const template = part(spec, 'template');
    const meta = part(template, 'metadata');
    meta['labels'] = { ...(isObject(meta['labels']) ? meta['labels'] : {}), ...own };
    spec['selector'] = {
      matchLabels: { 'batch.kubernetes.io/controller-uid': metadata.uid ?? '' },
    };
  },
  validate(item, old) {
    const causes = [...templateCauses(item), ...jobRestart(item, ['spec', 'template', 'spec'])];
    if (
      old !== undefined &&
      !equal(dig(old.spec, 'template'), dig(item.spec, 'template')) &&
      old.spec?.['suspend'] !== true
    )
      causes.push(causeInvalid('spec.template', '', 'field is immutable'));
    return causes;
  },
  selectable: (item) => ({ 'status.successful': String(item.status?.['succeeded'] ?? 0) }),
  selectablePaths: ['status.successful'],
};

export const cronJobRules: KindRules = {
  generation: true,
  defaults(item) {
    podSpecDefaults(dig(item.spec, 'jobTemplate', 'spec', 'template', 'spec'));
  },
  create: dropStatus,
  validate(item) {
    const path = ['spec', 'jobTemplate', 'spec', 'template', 'spec'];
    const causes = [...podSpecCauses(dig(item, ...path), path.join('.')), ...jobRestart(item, path)];
    const schedule = digText(item.spec, 'schedule').trim();
    if (schedule === '') causes.push(causeRequired('spec.schedule'));
    else if (
      !/^@(yearly|annually|monthly|weekly|daily|midnight|hourly|every .+)$/.test(schedule) &&
      schedule.split(/\s+/).length !== 5
    )
      causes.push(causeInvalid('spec.schedule', schedule, 'expected exactly 5 fields'));
    return causes;
  },
};

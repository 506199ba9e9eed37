// Columns of what runs pods.
import { dig, digList, digNumber, digText, type Item, type Json } from '../json.ts';
import type { Column } from '../kinds/kind.ts';
import { formatAge, formatDuration } from './age.ts';
import {
  column,
  wide,
  name,
  age,
  text,
  number,
  none,
  map,
  count,
  containerNames,
  containerImages,
  template,
  templateColumns,
} from './column-parts.ts';
import { podColumns } from './pod-columns.ts';

function jobDuration(item: Item, now: number): string {
  const start = digText(item, 'status', 'startTime');
  if (start === '') return '';
  const end = digText(item, 'status', 'completionTime');
  return formatDuration((end === '' ? now : Date.parse(end)) - Date.parse(start));
}

function jobStatus(item: Item): string {
  for (const type of ['Complete', 'Failed', 'Suspended'])
    if (
      digList(item.status, 'conditions').some(
        (entry) => digText(entry, 'type') === type && digText(entry, 'status') === 'True',
      )
    )
      return type;
  return item.metadata.deletionTimestamp === undefined ? 'Running' : 'Terminating';
}

const jobCompletions = (item: Item): string =>
  `${digNumber(item, 'status', 'succeeded')}/${item.spec?.['completions'] === undefined ? `1 of ${digNumber(item, 'spec', 'parallelism')}` : String(item.spec['completions'])}`;

const str = (value: Json | undefined): string => (value === undefined || value === null ? '' : String(value));

export const workloadColumns: Readonly<Record<string, readonly Column[]>> = {
  pods: podColumns,
  'deployments.apps': [
    name,
    column(
      'Ready',
      (item) => `${digNumber(item, 'status', 'readyReplicas')}/${digNumber(item, 'spec', 'replicas')}`,
    ),
    column('Up-to-date', number('status', 'updatedReplicas')),
    column('Available', number('status', 'availableReplicas')),
    age,
    ...templateColumns,
  ],
  'replicasets.apps': [
    name,
    column('Desired', number('spec', 'replicas')),
    column('Current', number('status', 'replicas')),
    column('Ready', number('status', 'readyReplicas')),
    age,
    ...templateColumns,
  ],
  replicationcontrollers: [
    name,
    column('Desired', number('spec', 'replicas')),
    column('Current', number('status', 'replicas')),
    column('Ready', number('status', 'readyReplicas')),
    age,
    wide('Containers', containerNames(...template)),
    wide('Images', containerImages(...template)),
    wide('Selector', map('spec', 'selector')),
  ],
  'daemonsets.apps': [
    name,
    column('Desired', number('status', 'desiredNumberScheduled')),
    column('Current', number('status', 'currentNumberScheduled')),
    column('Ready', number('status', 'numberReady')),
    column('Up-to-date', number('status', 'updatedNumberScheduled')),
    column('Available', number('status', 'numberAvailable')),
    column('Node Selector', map('spec', 'template', 'spec', 'nodeSelector')),
    age,
    ...templateColumns,
  ],
  'statefulsets.apps': [
    name,
    column(
      'Ready',
      (item) => `${digNumber(item, 'status', 'readyReplicas')}/${digNumber(item, 'spec', 'replicas')}`,
    ),
    age,
    wide('Containers', containerNames(...template)),
    wide('Images', containerImages(...template)),
  ],
  'controllerrevisions.apps': [
    name,
    column('Controller', (item) => {
      const owner = item.metadata.ownerReferences?.find((entry) => entry.controller === true);
      return owner === undefined
        ? '<none>'
        : `${owner.kind.toLowerCase()}.${owner.apiVersion.split('/')[0]}/${owner.name}`;
    }),
    column('Revision', number('revision')),
    age,
  ],
  'jobs.batch': [
    name,
    column('Status', jobStatus),
    column('Completions', jobCompletions),
    column('Duration', jobDuration),
    age,
    ...templateColumns,
  ],
  'cronjobs.batch': [
    name,
    column('Schedule', text('spec', 'schedule')),
    column('Timezone', (item) => none(digText(item, 'spec', 'timeZone'))),
    column('Suspend', (item) => (item.spec?.['suspend'] === true ? 'True' : 'False')),
    column('Active', count('status', 'active')),
    column('Last Schedule', (item, now) => {
      const last = digText(item, 'status', 'lastScheduleTime');
      return last === '' ? '<none>' : formatAge(last, now);
    }),
    age,
  ],
  'poddisruptionbudgets.policy': [
    name,
    column('Min Available', (item) => str(dig(item.spec, 'minAvailable')) || 'N/A'),
    column('Max Unavailable', (item) => str(dig(item.spec, 'maxUnavailable')) || 'N/A'),
    column('Allowed Disruptions', number('status', 'disruptionsAllowed')),
    age,
  ],
  'horizontalpodautoscalers.autoscaling': [
    name,
    column(
      'Reference',
      (item) =>
        `${digText(item, 'spec', 'scaleTargetRef', 'kind')}/${digText(item, 'spec', 'scaleTargetRef', 'name')}`,
    ),
    column('MinPods', (item) => str(dig(item.spec, 'minReplicas')) || '<unset>'),
    column('MaxPods', number('spec', 'maxReplicas')),
    column('Replicas', number('status', 'currentReplicas')),
    age,
  ],
};

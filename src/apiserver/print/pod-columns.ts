// The columns of `kubectl get pods`. STATUS is the word that tells best what the pod is doing.
import {
  dig,
  digList,
  digNumber,
  digText,
  isObject,
  type Item,
  type Json,
  type JsonObject,
} from '../json.ts';
import type { Column } from '../kinds/kind.ts';
import { formatAge } from './age.ts';

const statuses = (item: Item, key: string): JsonObject[] => digList(item.status, key).filter(isObject);

function reasonOf(status: JsonObject): string | undefined {
  const waiting = digText(status, 'state', 'waiting', 'reason');
  if (waiting !== '') return waiting;
  const terminated = dig(status, 'state', 'terminated');
  if (!isObject(terminated)) return undefined;
  const reason = digText(terminated, 'reason');
  if (reason !== '') return reason;
  const signal = digNumber(terminated, 'signal');
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${digNumber(terminated, 'exitCode')}`;
}

export function podStatus(item: Item): string {
  let reason = digText(item.status, 'reason') || digText(item.status, 'phase') || 'Unknown';
  for (const condition of digList(item.status, 'conditions'))
    if (digText(condition, 'type') === 'PodScheduled' && digText(condition, 'reason') === 'SchedulingGated')
      reason = 'SchedulingGated';
  const inits = digList(item.spec, 'initContainers').filter(isObject);
  const sidecar = new Set(
    inits.filter((init) => init['restartPolicy'] === 'Always').map((init) => digText(init, 'name')),
  );
  let initializing = false;
  for (const [i, status] of statuses(item, 'initContainerStatuses').entries()) {
    const terminated = dig(status, 'state', 'terminated');
    if (isObject(terminated) && digNumber(terminated, 'exitCode') === 0) continue;
    if (sidecar.has(digText(status, 'name')) && status['started'] === true) continue;
    if (isObject(terminated)) reason = `Init:${reasonOf(status) ?? ''}`;
    else {
      const waiting = digText(status, 'state', 'waiting', 'reason');
      reason =
        waiting !== '' && waiting !== 'PodInitializing' ? `Init:${waiting}` : `Init:${i}/${inits.length}`;
    }
    initializing = true;
    break;
  }
  if (!initializing) {
    let hasRunning = false;
    for (const status of statuses(item, 'containerStatuses').toReversed()) {
      const own = reasonOf(status);
      if (own !== undefined) reason = own;
      else if (status['ready'] === true && isObject(dig(status, 'state', 'running'))) hasRunning = true;
    }
    if (reason === 'Completed' && hasRunning)
      reason = digList(item.status, 'conditions').some(
        (condition) => digText(condition, 'type') === 'Ready' && digText(condition, 'status') === 'True',
      )
        ? 'Running'
        : 'NotReady';
  }
  if (item.metadata.deletionTimestamp !== undefined) {
    if (digText(item.status, 'reason') === 'NodeLost') return 'Unknown';
    if (reason !== 'Succeeded' && reason !== 'Failed' && reason !== 'Completed') return 'Terminating';
  }
  return reason;
}

function readiness(item: Item): string {
  const inits = digList(item.spec, 'initContainers').filter(isObject);
  const sidecars = new Set(
    inits.filter((init) => init['restartPolicy'] === 'Always').map((init) => digText(init, 'name')),
  );
  const total = digList(item.spec, 'containers').length + sidecars.size;
  const ready = [
    ...statuses(item, 'containerStatuses').filter(
      (status) => status['ready'] === true && isObject(dig(status, 'state', 'running')),
    ),
    ...statuses(item, 'initContainerStatuses').filter(
      (status) => sidecars.has(digText(status, 'name')) && status['ready'] === true,
    ),
  ].length;
  return `${ready}/${total}`;
}

function restarts(item: Item, now: number): string {
  let count = 0;
  let last = '';
  for (const status of statuses(item, 'containerStatuses')) {
    count += digNumber(status, 'restartCount');
    const finished = digText(status, 'lastState', 'terminated', 'finishedAt');
    if (finished > last) last = finished;
  }
  return count > 0 && last !== '' ? `${count} (${formatAge(last, now)} ago)` : String(count);
}

const orNone = (value: Json | undefined): string =>
  typeof value === 'string' && value !== '' ? value : '<none>';

export const podColumns: readonly Column[] = [
  { name: 'Name', type: 'string', format: 'name', value: (item) => item.metadata.name },
  { name: 'Ready', type: 'string', value: readiness },
  { name: 'Status', type: 'string', value: podStatus },
  { name: 'Restarts', type: 'string', value: restarts },
  { name: 'Age', type: 'string', value: (item, now) => formatAge(item.metadata.creationTimestamp, now) },
  {
    name: 'IP',
    type: 'string',
    priority: 1,
    value: (item) => orNone(dig(item.status, 'podIPs', '0', 'ip') ?? dig(item.status, 'podIP')),
  },
  { name: 'Node', type: 'string', priority: 1, value: (item) => orNone(dig(item.spec, 'nodeName')) },
  {
    name: 'Nominated Node',
    type: 'string',
    priority: 1,
    value: (item) => orNone(dig(item.status, 'nominatedNodeName')),
  },
  {
    name: 'Readiness Gates',
    type: 'string',
    priority: 1,
    value(item) {
      const gates = digList(item.spec, 'readinessGates').map((gate) => digText(gate, 'conditionType'));
      if (gates.length === 0) return '<none>';
      const met = digList(item.status, 'conditions').filter(
        (condition) => gates.includes(digText(condition, 'type')) && digText(condition, 'status') === 'True',
      ).length;
      return `${met}/${gates.length}`;
    },
  },
];

// Pods, and the pod templates of the kinds that make pods.
import { causeDuplicate, causeForbidden, causeInvalid, causeRequired, type Cause } from '../api-error.ts';
import { clone, digList, digText, equal, isObject, type Json, type JsonObject } from '../json.ts';
import type { KindRules } from './kind.ts';
import { isDnsLabel } from './metadata.ts';

const containersOf = (spec: JsonObject): JsonObject[] =>
  [...digList(spec, 'initContainers'), ...digList(spec, 'containers')].filter(isObject);

/** The values in a pod's spec that depend on other values; also for templates. */
export function podSpecDefaults(spec: Json | undefined): void {
  if (!isObject(spec)) return;
  // The old and the new name of one field are kept the same.
  if (spec['serviceAccountName'] !== undefined) spec['serviceAccount'] = spec['serviceAccountName'];
  else if (spec['serviceAccount'] !== undefined) spec['serviceAccountName'] = spec['serviceAccount'];
  for (const container of containersOf(spec)) {
    if (container['imagePullPolicy'] === undefined) {
      const image = digText(container, 'image');
      const name = image.slice(image.lastIndexOf('/') + 1);
      const tagged = name.includes(':') || image.includes('@');
      container['imagePullPolicy'] = !tagged || name.endsWith(':latest') ? 'Always' : 'IfNotPresent';
    }
    for (const port of digList(container, 'ports'))
      if (isObject(port) && spec['hostNetwork'] === true && port['hostPort'] === undefined)
        port['hostPort'] = port['containerPort'] as Json;
    // Requests follow limits.
    const resources = container['resources'];
    if (isObject(resources) && isObject(resources['limits'])) {
      const requests = isObject(resources['requests']) ? resources['requests'] : {};
      resources['requests'] = { ...resources['limits'], ...requests };
    }
    for (const probe of ['livenessProbe', 'startupProbe']) {
      const found = container[probe];
      if (isObject(found)) found['successThreshold'] ??= 1;
    }
  }
  // A volume without a source is an empty directory.
  for (const volume of digList(spec, 'volumes'))
    if (isObject(volume) && Object.keys(volume).length === 1 && volume['name'] !== undefined)
      volume['emptyDir'] = {};
}

function probeCauses(probe: Json | undefined, field: string): Cause[] {
  if (!isObject(probe)) return [];
  const handlers = ['exec', 'httpGet', 'tcpSocket', 'grpc'].filter((key) => probe[key] !== undefined);
  if (handlers.length === 0) return [causeRequired(field, 'must specify a handler type')];
  if (handlers.length > 1)
    return [causeForbidden(`${field}.${handlers[1]}`, 'may not specify more than 1 handler type')];
  const causes: Cause[] = [];
  for (const handler of ['httpGet', 'tcpSocket']) {
    const found = probe[handler];
    if (isObject(found) && found['port'] === undefined)
      causes.push(causeRequired(`${field}.${handler}.port`));
    else if (isObject(found) && typeof found['port'] === 'number')
      causes.push(...portCauses(found['port'], `${field}.${handler}.port`));
  }
  return causes;
}

export function portCauses(port: unknown, field: string): Cause[] {
  return typeof port === 'number' && port >= 1 && port <= 65535
    ? []
    : [causeInvalid(field, port, 'must be between 1 and 65535, inclusive')];
}

export function podSpecCauses(spec: Json | undefined, field: string): Cause[] {
  if (!isObject(spec)) return [causeRequired(field)];
  const causes: Cause[] = [];
  if (digList(spec, 'containers').length === 0) causes.push(causeRequired(`${field}.containers`));
  const volumes = new Set(digList(spec, 'volumes').map((volume) => digText(volume, 'name')));
  const names = new Set<string>();
  for (const list of ['initContainers', 'containers']) {
    digList(spec, list).forEach((container, i) => {
      const at = `${field}.${list}[${i}]`;
      const name = digText(container, 'name');
      if (name === '') causes.push(causeRequired(`${at}.name`));
      else if (!isDnsLabel(name))
        causes.push(
          causeInvalid(
            `${at}.name`,
            name,
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
          ),
        );
      if (names.has(name)) causes.push(causeDuplicate(`${at}.name`, name));
      names.add(name);
      if (digText(container, 'image') === '') causes.push(causeRequired(`${at}.image`));
      digList(container, 'ports').forEach((port, j) => {
        if (isObject(port))
          causes.push(...portCauses(port['containerPort'], `${at}.ports[${j}].containerPort`));
      });
      digList(container, 'env').forEach((entry, j) => {
        if (digText(entry, 'name') === '') causes.push(causeRequired(`${at}.env[${j}].name`));
        if (
          isObject(entry) &&
          entry['value'] !== undefined &&
          entry['value'] !== '' &&
          entry['valueFrom'] !== undefined
        )
          causes.push(
            causeInvalid(`${at}.env[${j}].valueFrom`, '', 'may not be specified when `value` is not empty'),
          );
      });
      digList(container, 'volumeMounts').forEach((mount, j) => {
        const volume = digText(mount, 'name');
        if (!volumes.has(volume))
          causes.push({
            reason: 'FieldValueNotFound',
            message: `Not found: ${JSON.stringify(volume)}`,
            field: `${at}.volumeMounts[${j}].name`,
          });
        if (digText(mount, 'mountPath') === '')
          causes.push(causeRequired(`${at}.volumeMounts[${j}].mountPath`));
      });
      if (isObject(container))
        for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe'])
          causes.push(...probeCauses(container[probe], `${at}.${probe}`));
    });
  }
  const restartPolicy = spec['restartPolicy'];
  if (restartPolicy !== undefined && !['Always', 'OnFailure', 'Never'].includes(restartPolicy as string))
    causes.push({
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(restartPolicy)}: supported values: "Always", "OnFailure", "Never"`,
      field: `${field}.restartPolicy`,
    });
  return causes;
}

/** What may change in a running pod's spec. */
function frozenPart(spec: Json | undefined): Json {
  const copy = clone(spec ?? {});
  if (!isObject(copy)) return {};
  for (const container of containersOf(copy)) delete container['image'];
  for (const container of containersOf(copy)) {
    delete container['resources'];
    delete container['imagePullPolicy'];
  }
  for (const key of [
    'activeDeadlineSeconds',
    'tolerations',
    'terminationGracePeriodSeconds',
    'ephemeralContainers',
    'schedulingGates',
  ])
    delete copy[key];
  return copy;
}

function qosClass(spec: Json | undefined): string {
  if (!isObject(spec)) return 'BestEffort';
  const containers = containersOf(spec);
  const has = (container: JsonObject, part: string, name: string): boolean =>
    isObject(container['resources']) &&
    isObject(container['resources'][part]) &&
    container['resources'][part][name] !== undefined;
  const any = containers.some((container) =>
    ['limits', 'requests'].some((part) => ['cpu', 'memory'].some((name) => has(container, part, name))),
  );
  if (!any) return 'BestEffort';
  const guaranteed = containers.every((container) =>
    ['cpu', 'memory'].every((name) => {
      if (!has(container, 'limits', name)) return false;
      const resources = container['resources'] as Record<string, JsonObject>;
      const request = resources['requests']?.[name];
      return request === undefined || request === resources['limits']?.[name];
    }),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

export const podRules: KindRules = {
  generation: true,
  defaults(item) {
    const { spec } = item;
    if (spec === undefined) return;
    podSpecDefaults(spec);
    spec['enableServiceLinks'] ??= true;
  },
  create(item) {
    item.spec ??= {};
    const { spec } = item;
    spec['serviceAccountName'] ??= 'default';
    spec['serviceAccount'] = spec['serviceAccountName'];
    // What the priority and the default-tolerations admission fill in.
    spec['preemptionPolicy'] ??= 'PreemptLowerPriority';
    const classes: Record<string, number> = {
      'system-node-critical': 2000001000,
      'system-cluster-critical': 2000000000,
    };
    spec['priority'] ??= classes[digText(spec, 'priorityClassName')] ?? 0;
    const tolerations = digList(spec, 'tolerations').filter(isObject);
    for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'])
      if (
        !tolerations.some(
          (toleration) =>
            (toleration['key'] === key || toleration['key'] === undefined) &&
            (toleration['effect'] === 'NoExecute' || toleration['effect'] === undefined),
        )
      )
        tolerations.push({ effect: 'NoExecute', key, operator: 'Exists', tolerationSeconds: 300 });
    spec['tolerations'] = tolerations;
    item.status = { phase: 'Pending', qosClass: qosClass(spec) };
  },
  update(item, old) {
    // Set once, by the binding.
    if (item.status === undefined && old.status !== undefined) item.status = old.status;
  },
  updateStatus(item, old) {
    if (item.status !== undefined) item.status['qosClass'] ??= digText(old.status, 'qosClass');
  },
  validate(item, old) {
    const causes = podSpecCauses(item.spec, 'spec');
    if (old !== undefined && !equal(frozenPart(old.spec), frozenPart(item.spec)))
      causes.push(
        causeForbidden(
          'spec',
          'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
        ),
      );
    return causes;
  },
  selectable: (item) => ({
    'spec.nodeName': digText(item, 'spec', 'nodeName'),
    'spec.restartPolicy': digText(item, 'spec', 'restartPolicy'),
    'spec.schedulerName': digText(item, 'spec', 'schedulerName'),
    'spec.serviceAccountName': digText(item, 'spec', 'serviceAccountName'),
    'spec.hostNetwork': String(item.spec?.['hostNetwork'] === true),
    'status.phase': digText(item, 'status', 'phase'),
    'status.podIP': digText(item, 'status', 'podIP'),
    'status.nominatedNodeName': digText(item, 'status', 'nominatedNodeName'),
  }),
  selectablePaths: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  grace(item, asked) {
    const own = item.spec?.['terminationGracePeriodSeconds'];
    const seconds = asked ?? (typeof own === 'number' ? own : 30);
    // Nobody runs it, or it has ended: there is nothing to wait for.
    const phase = digText(item, 'status', 'phase');
    if (digText(item, 'spec', 'nodeName') === '' || phase === 'Failed' || phase === 'Succeeded') return 0;
    return Math.max(0, seconds);
  },
};

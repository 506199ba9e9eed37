// Descriptions as a person reads them.
import type { Description, PodDescription, PolicySummary, ServiceDescription } from './describe.ts';
import type { AtWaypoint } from './describe-waypoint.ts';
import { showPlace, type Place } from './document.ts';
import type { Finding } from './finding.ts';

type Row = readonly [name: string, text: string];

function rows(list: readonly Row[]): string[] {
  const width = Math.max(...list.map(([name]) => name.length)) + 3;
  return list.map(([name, text]) => `${`${name}:`.padEnd(width)}${text}`);
}

const at = (place: Place | undefined): string => (place?.file === undefined ? '' : `  (${showPlace(place)})`);

function policyLines(policies: readonly PolicySummary[], of: (policy: PolicySummary) => string): string[] {
  return policies.flatMap((policy) => [
    `  ${policy.action.padEnd(5)} ${policy.policy} (${policy.scope}${policy.dryRun ? ', dry run' : ''}${of(policy)})${at(policy.place)}`,
    ...policy.effect.map((effect) => `        ${effect}`),
  ]);
}

/** Routes, tokens, settings, limits, telemetry. The policies stand elsewhere. */
function waypointLines({ gateway, routes, authentications, applied }: AtWaypoint): string[] {
  const lines = ['', `At waypoint ${gateway}:`];
  for (const { route, hostnames, rules, place } of routes) {
    lines.push(`  ${route}${hostnames.length === 0 ? '' : ` for ${hostnames.join(', ')}`}${at(place)}`);
    for (const { rule, name, needs, does } of rules)
      lines.push(
        `      ${rule + 1}. ${name === undefined ? '' : `${name}: `}${needs.length === 0 ? 'every request' : needs.join('; or ')} -> ${does}`,
      );
  }
  if (routes.length === 0) lines.push('  no route: requests go where they are addressed');
  for (const { authentication, issuers, locations, place } of authentications)
    lines.push(
      `  RequestAuthentication ${authentication}: ${issuers.join(', ')}, in ${locations.join(', ')}${at(place)}`,
    );
  for (const { kind, name, does, place } of applied)
    lines.push(`  ${kind} ${name}${does.length === 0 ? '' : `: ${does.join('; ')}`}${at(place)}`);
  return lines;
}

function problemLines(problems: readonly Finding[]): string[] {
  if (problems.length === 0) return [];
  return [
    '',
    'Problems:',
    ...problems.flatMap(({ code, object, place, message, fix }) => [
      `  [${code}] ${object.kind} ${object.name}: ${message}${at(place)}`,
      `      -> ${fix}`,
    ]),
  ];
}

function plainText({ inMesh, ownProxy, mtls: { mode, exceptions, place } }: PodDescription): string {
  if (ownProxy) return 'up to its own proxy';
  if (!inMesh) return 'taken: nobody refuses it';
  const by =
    place === undefined
      ? ', the default'
      : ` by PeerAuthentication ${place.namespace}/${place.name}${at(place)}`;
  const but =
    exceptions.length === 0
      ? ''
      : `, but ${mode === 'STRICT' ? 'taken' : 'refused'} at port ${exceptions.join(', ')}`;
  return `${mode === 'STRICT' ? 'refused' : 'taken'}${but} (mTLS mode ${mode}${by})`;
}

function podLines(pod: PodDescription): string[] {
  const lines = rows([
    ['Pod', `${pod.title}${at(pod.place)}`],
    [
      'State',
      `${pod.phase}, ${pod.ready ? 'ready' : 'not ready'}${pod.node === '' ? '' : `, on node ${pod.node}`}`,
    ],
    ['Addresses', pod.addresses.join(', ') || 'none yet'],
    ...(pod.gateway === undefined
      ? []
      : [
          [
            'Runs',
            `${pod.ownProxy ? 'the waypoint' : 'the Gateway'} ${pod.gateway}${pod.told === undefined ? '' : `, which has ${pod.told.join(', ')}`}`,
          ] as const,
        ]),
    ['In the mesh', `${pod.inMesh ? 'yes' : 'NO'}: ${pod.because.replace(/^not in the mesh: /, '')}`],
    [
      'Traffic',
      pod.protocol === 'HBONE'
        ? 'comes by HBONE (mutual TLS) from the mesh'
        : pod.protocol === 'TCP'
          ? 'comes in plain text'
          : 'none: it has no record in the mesh',
    ],
    ...(pod.identity === undefined ? [] : [['Identity', pod.identity] as const]),
    ...(pod.waypoint === undefined
      ? []
      : [['Waypoint', `${pod.waypoint}, for connections to the pod's own address`] as const]),
    ['Plain text', plainText(pod)],
  ]);
  lines.push('', 'Services:');
  if (pod.services.length === 0) lines.push('  none');
  for (const { service, ports, waypoint, atWaypoint = [] } of pod.services) {
    lines.push(
      `  ${service}  ports ${ports.join(', ')}${waypoint === undefined ? '' : `, through waypoint ${waypoint}`}`,
    );
    if (atWaypoint.length > 0) lines.push(`      with ${atWaypoint.join(', ')}`);
  }
  if (pod.atWaypoint !== undefined) {
    const { policies } = pod.atWaypoint;
    lines.push(...waypointLines(pod.atWaypoint));
    for (const { policy, action, dryRun } of policies)
      lines.push(`  ${action} ${policy}${dryRun ? ' (dry run)' : ''}`);
  }
  lines.push(
    '',
    pod.inMesh ? 'Policies:' : 'Policies that would apply, were it in the mesh:',
    ...policyLines(pod.policies, () => ''),
    pod.policies.length === 0 ? '  none: everything is allowed' : `  everything else is ${pod.otherwise}`,
  );
  return [...lines, ...problemLines(pod.problems)];
}

function serviceLines(service: ServiceDescription): string[] {
  const lines = rows([
    [service.place.kind, `${service.title}${at(service.place)}`],
    ['Name', service.hostname],
    ['Addresses', service.addresses.join(', ') || 'none: clients use those of its pods'],
    ['Waypoint', service.binding],
    ['Balancing', service.loadBalancing],
  ]);
  lines.push('', 'Ports:');
  for (const { port, name, protocol, target } of service.ports)
    lines.push(`  ${port}${name === '' ? '' : ` ${name}`} (${protocol}) to ${target}`);
  const ready = service.endpoints.filter((one) => one.ready).length;
  lines.push('', `Endpoints (${ready} of ${service.endpoints.length} ready):`);
  for (const { workload, addresses, node, ready: up, inMesh } of service.endpoints)
    lines.push(
      `  ${workload}  ${addresses.join(', ') || 'no address'}${node === '' ? '' : `  node ${node}`}  ${up ? 'ready' : 'NOT READY'}, ${inMesh ? 'in the mesh' : 'NOT in the mesh'}`,
    );
  if (service.waypoint !== undefined) {
    lines.push('', 'Policies of the waypoint, for each request:');
    if (service.requestPolicies.length === 0) lines.push('  none: every request passes');
    for (const { policy, action, target, rules, attributes, place } of service.requestPolicies)
      lines.push(
        `  ${action.padEnd(5)} ${policy} (${target}): ${rules} ${rules === 1 ? 'rule' : 'rules'}${attributes.length === 0 ? '' : `, by ${attributes.join(', ')}`}${at(place)}`,
      );
  }
  if (service.atWaypoint !== undefined) lines.push(...waypointLines(service.atWaypoint));
  lines.push('', 'Policies of its pods, for each connection:');
  if (service.policies.length === 0) lines.push('  none: everything is allowed');
  const count = (policy: PolicySummary): string => {
    const found = service.policies.find((one) => one.policy === policy.policy);
    return `, ${found?.workloads} of ${service.endpoints.length} pods`;
  };
  lines.push(...policyLines(service.policies, count));
  return [...lines, ...problemLines(service.problems)];
}

/** Ends with a line feed. */
export function descriptionText(description: Description): string {
  const lines = description.kind === 'pod' ? podLines(description) : serviceLines(description);
  return `${lines.join('\n')}\n`;
}

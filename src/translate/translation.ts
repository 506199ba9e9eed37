// What a translation gives: records for the wire, conditions for the object's status, and problems for the log.
import type { Policy, Service, Workload } from '#/model/index.ts';
import type { ParentStatus, WaypointRecord } from './http/waypoint-record.ts';

export type MeshRecord = Workload | Service | Policy;

export const conditionType = {
  waypointBound: 'istio.io/WaypointBound',
  waypointMissing: 'istio.io/WaypointMissing',
  visibilityApplied: 'istio.io/VisibilityApplied',
  ztunnelAccepted: 'ZtunnelAccepted',
  waypointAccepted: 'WaypointAccepted',
  /** Ours, not upstream's: False while the object holds a value that cannot be used. */
  valid: 'aura.dev/Valid',
} as const;

export interface WantedCondition {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
  /** Only where upstream writes it. */
  readonly observedGeneration?: number;
}

/** A part of the object that could not be used as it stands. Logged with the object's name. */
export interface Problem {
  /** Where in the object, as `spec.rules[0].from[1].source.ipBlocks`. */
  readonly field: string;
  /** What is wrong, and what was done about it. */
  readonly reason: string;
}

/** A gateway through which other networks reach the workloads of one. */
export interface NetworkGateway {
  readonly network: string;
  /** IP address or host name. */
  readonly address: string;
  readonly port: number;
  /** The Gateway object. */
  readonly namespace: string;
  readonly name: string;
  readonly clusterId: string;
}

export interface Translation {
  readonly records: readonly MeshRecord[];
  /** The services among the records may be used by other clusters. Absent: they may not. */
  readonly global?: boolean;
  readonly networkGateways?: readonly NetworkGateway[];
  readonly conditions: readonly WantedCondition[];
  readonly problems: readonly Problem[];
  /** What waypoints are told. */
  readonly waypoint?: readonly WaypointRecord[];
  /** Of a route: what stands in `status.parents`. */
  readonly parents?: readonly ParentStatus[];
}

export const emptyTranslation: Translation = { records: [], conditions: [], problems: [] };

/** Conditions are read by people: the first few problems, and how many more there are. */
const maxDescribed = 10;

export function describeProblems(problems: readonly Problem[]): string {
  const texts = problems.slice(0, maxDescribed).map(({ field, reason }) => `${field}: ${reason}`);
  if (problems.length > maxDescribed) texts.push(`and ${problems.length - maxDescribed} more`);
  return texts.join('; ');
}

/** The condition that tells of problems in kinds for which upstream has none. */
export function validCondition(problems: readonly Problem[]): readonly WantedCondition[] {
  if (problems.length === 0) return [];
  return [
    {
      type: conditionType.valid,
      status: false,
      reason: 'InvalidValue',
      message: describeProblems(problems),
    },
  ];
}

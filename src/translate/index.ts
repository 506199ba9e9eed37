// translate: Kubernetes objects to records of the mesh and to what their status says. One file per kind; each
// translation is a pure function of an object and look-ups, and MeshIndex runs again only what a change concerns.
// Imports kit, errors, model. Must not know bytes, sockets, files, the Kubernetes client, or who wants the records.
export type { AuthorizationPolicyFacts } from './authorization-policy.ts';
export { canMatch, convertRules, type ConvertedRules, type RulesContext } from './authorization-rules.ts';
export type { TargetRef } from './authorization-policy.ts';
export type { GatewayFacts } from './gateway.ts';
export {
  marksOf,
  kinds,
  kindsOnDemand,
  readFacts,
  type FactsByKind,
  type Kind,
  type KindOnDemand,
} from './kinds.ts';
export type { Lookup } from './lookup.ts';
export { NetworkMerge, type ClusterSink } from './network-merge.ts';
export { MeshIndex, type MeshOutput, type Origin, type RecordTable } from './mesh-index.ts';
export {
  label as meshLabels,
  annotation as meshAnnotations,
  convertedPeerAuthentication,
  staticStrictPolicy,
  waypointClasses,
} from './names.ts';
export { byAge, objectKey, type ObjectFacts, type SourceObject } from './object.ts';
export type { PeerAuthenticationFacts } from './peer-authentication.ts';
export { PlainLookup } from './plain-lookup.ts';
export type { PodFacts } from './pod.ts';
export { podUid } from './pod.ts';
export { readLabelSelector, matchesSelector, selects, type LabelSelector } from './selector.ts';
export { autoAllocatedHosts, type ServiceEntryFacts } from './service-entry.ts';
export { serviceHostname, type ServiceFacts } from './service.ts';
export { defaultSettings, type MeshSettings, type ServiceScope, type VisibilityPolicy } from './settings.ts';
export {
  conditionType,
  type MeshRecord,
  type NetworkGateway,
  type Problem,
  type Translation,
  type WantedCondition,
} from './translation.ts';
export {
  bindService,
  bindWorkload,
  findWaypoint,
  type BindingProblem,
  type Waypoint,
  type WaypointBinding,
} from './waypoint.ts';
export { routeController, type ParentStatus, type WaypointRecord } from './http/waypoint-record.ts';
export type { WorkloadEntryFacts } from './workload-entry.ts';

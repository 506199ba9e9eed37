// One end of a connection, for people: what it is, where it is, and whether the mesh has it.
import { knownIdentity, serviceKey, type Workload } from '#/model/index.ts';
import { placeOf, type Place, type SourceDocument } from './document.ts';
import { dataplaneLabel } from './names.ts';
import type { MeshModel } from './mesh-model.ts';
import type { Party } from './target.ts';

export interface PartyReport {
  readonly kind: Party['kind'];
  /** `pod ns/name`, `service ns/name`, or an address. */
  readonly title: string;
  readonly addresses: readonly string[];
  readonly node?: string;
  readonly identity?: string;
  /** Whether ztunnel, or a proxy of its own, has its connections. Absent for services. */
  readonly inMesh?: boolean;
  /** Why it is in the mesh or not. */
  readonly because: string;
  readonly place?: Place;
}

export function workloadTitle({ uid, namespace, name }: Workload): string {
  const kind = uid.includes('//Pod/')
    ? 'pod'
    : uid.includes('/WorkloadEntry/')
      ? 'workloadentry'
      : 'workload';
  return `${kind} ${namespace}/${name}`;
}

/** Why a pod is captured or not: what the annotation says, and what the labels ask for. */
export function captureOf(
  model: MeshModel,
  pod: SourceDocument,
): { readonly captured: boolean; readonly wanted: boolean; readonly because: string } {
  const captured = model.isCaptured(pod);
  const eligible = model.eligibility(pod);
  const by = eligible.enabled
    ? eligible.by === 'pod'
      ? `its label ${dataplaneLabel}=ambient`
      : `label ${dataplaneLabel}=ambient of namespace ${pod.namespace}`
    : eligible.reason;
  const because = captured
    ? eligible.enabled
      ? `captured, by ${by}`
      : `captured (annotation ambient.istio.io/redirection), though ${by}`
    : eligible.enabled
      ? `NOT captured, though ${by} asks for it: annotation ambient.istio.io/redirection is missing`
      : `not in the mesh: ${by}`;
  return { captured, wanted: eligible.enabled, because };
}

export function partyReport(model: MeshModel, party: Party): PartyReport {
  switch (party.kind) {
    case 'address':
      return {
        kind: party.kind,
        title: party.ip,
        addresses: [party.ip],
        inMesh: false,
        because: 'not in the mesh: no pod or service has this address',
      };
    case 'hostname':
      return {
        kind: party.kind,
        title: party.hostname,
        addresses: [],
        inMesh: false,
        because: 'not in the mesh: no service has this name',
      };
    case 'absent': {
      const { document } = party;
      return {
        kind: party.kind,
        title: `pod ${document.namespace}/${document.name}`,
        addresses: [],
        because: 'it has no address, or has ended',
        place: placeOf(document),
      };
    }
    case 'service': {
      const { service, document } = party;
      const { workloads } = model.store.endpoints(serviceKey(service));
      return {
        kind: party.kind,
        title: `service ${service.namespace}/${service.name}`,
        addresses: service.addresses.map(({ ip }) => ip),
        because: workloads.length === 1 ? '1 ready endpoint' : `${workloads.length} ready endpoints`,
        ...(document && { place: placeOf(document) }),
      };
    }
    case 'workload': {
      const { workload, document } = party;
      const identity = knownIdentity(workload);
      const pod = model.podOf(workload);
      const capture =
        pod === undefined
          ? { captured: workload.protocol === 'HBONE', because: 'not a pod: no node agent captures it' }
          : captureOf(model, pod);
      const native = workload.nativeTunnel;
      return {
        kind: party.kind,
        title: workloadTitle(workload),
        addresses: workload.addresses,
        ...(workload.node === '' ? {} : { node: workload.node }),
        ...(identity === undefined ? {} : { identity }),
        inMesh: native || capture.captured,
        because: native ? 'it is a proxy itself, and speaks HBONE' : capture.because,
        ...(document && { place: placeOf(document) }),
      };
    }
  }
}

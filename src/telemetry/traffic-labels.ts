// The labels of the TCP metrics, as text made once per pair of workloads and then kept. The flag stands in the middle
// of the list and is only known at the end, so the text is held in two halves.
import type { ResponseFlag } from '#/errors/index.ts';
import { knownIdentity, type Baggage, type Identity, type Service, type Workload } from '#/model/index.ts';

/** `source`: the client's proxy reports. */
export type Reporter = 'source' | 'destination';

/** Who talks to whom, as far as it is known. */
export interface TrafficParties {
  readonly reporter: Reporter;
  readonly source?: Workload | undefined;
  readonly destination?: Workload | undefined;
  /** The service that was meant. */
  readonly service?: Service | undefined;
  readonly mutualTls: boolean;
  /** The client's identity: from the handshake, or our own if we are to present it. Absent for plaintext. */
  readonly sourceIdentity?: Identity | undefined;
  /** What the client said of itself; used when its workload is not known. */
  readonly sourceBaggage?: Baggage | undefined;
  /** What the far end said of itself, behind a gateway; used instead of `destination`. */
  readonly destinationBaggage?: Baggage | undefined;
  /** The far end's identity from the handshake; used with its baggage. */
  readonly destinationIdentity?: Identity | undefined;
}

export interface TrafficLabels {
  /** Up to and with `response_flags="`. */
  readonly head: string;
  /** From the closing quote on. */
  readonly tail: string;
  readonly reporter: Reporter;
}

export const labelsWithFlag = (labels: TrafficLabels, flag: ResponseFlag): string =>
  `${labels.head}${flag}${labels.tail}`;

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

/** A label's value in the text format. Missing and empty: `unknown`. */
export function labelValue(value: string | undefined): string {
  if (value === undefined || value === '') return 'unknown';
  return /["\\\n]/.test(value)
    ? value.replace(/["\\\n]/g, (character) => escapes[character] as string)
    : value;
}

interface PartyText {
  /** The four labels before the principal, and its name. */
  readonly head: string;
  /** The three labels after it. */
  readonly tail: string;
  readonly region: string;
  readonly zone: string;
}

interface PartyFields {
  readonly workload: string | undefined;
  readonly service: string | undefined;
  readonly revision: string | undefined;
  readonly namespace: string | undefined;
  readonly app: string | undefined;
  readonly cluster: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
}

function partyText(side: 'source' | 'destination', fields: PartyFields): PartyText {
  const revision = labelValue(fields.revision);
  return {
    head:
      `${side}_workload="${labelValue(fields.workload)}"` +
      `,${side}_canonical_service="${labelValue(fields.service)}"` +
      `,${side}_canonical_revision="${revision}"` +
      `,${side}_workload_namespace="${labelValue(fields.namespace)}"` +
      `,${side}_principal="`,
    tail:
      `",${side}_app="${labelValue(fields.app)}",${side}_version="${revision}"` +
      `,${side}_cluster="${labelValue(fields.cluster)}"`,
    region: labelValue(fields.region),
    zone: labelValue(fields.zone),
  };
}

const fieldsOfWorkload = (workload: Workload): PartyFields => ({
  workload: workload.workloadName,
  service: workload.canonicalName,
  revision: workload.canonicalRevision,
  namespace: workload.namespace,
  app: workload.canonicalName,
  cluster: workload.clusterId,
  region: workload.locality.region,
  zone: workload.locality.zone,
});

// The app label of a peer that is only known by its baggage is its workload's name, as upstream has it.
const fieldsOfBaggage = (baggage: Baggage): PartyFields => ({
  workload: baggage.workloadName,
  service: baggage.serviceName,
  revision: baggage.revision,
  namespace: baggage.namespace,
  app: baggage.workloadName,
  cluster: baggage.clusterId,
  region: baggage.region,
  zone: baggage.zone,
});

const nobody: Readonly<Record<'source' | 'destination', PartyText>> = {
  source: partyText('source', fieldsOfBaggage({})),
  destination: partyText('destination', fieldsOfBaggage({})),
};

const workloadTexts = {
  source: new WeakMap<Workload, PartyText>(),
  destination: new WeakMap<Workload, PartyText>(),
};

function textOfWorkload(side: 'source' | 'destination', workload: Workload | undefined): PartyText {
  if (workload === undefined) return nobody[side];
  const kept = workloadTexts[side].get(workload);
  if (kept !== undefined) return kept;
  const made = partyText(side, fieldsOfWorkload(workload));
  workloadTexts[side].set(workload, made);
  return made;
}

function makeLabels(parties: TrafficParties): TrafficLabels {
  const { source, destination, service, sourceBaggage, destinationBaggage } = parties;
  const from =
    source === undefined && sourceBaggage !== undefined
      ? partyText('source', fieldsOfBaggage(sourceBaggage))
      : textOfWorkload('source', source);
  const to =
    destinationBaggage === undefined
      ? textOfWorkload('destination', destination)
      : partyText('destination', fieldsOfBaggage(destinationBaggage));
  const toPrincipal =
    destinationBaggage === undefined && destination !== undefined
      ? knownIdentity(destination)
      : parties.destinationIdentity;
  const head =
    `reporter="${parties.reporter}",${from.head}${labelValue(parties.sourceIdentity)}${from.tail}` +
    `,destination_service="${labelValue(service?.hostname)}"` +
    `,destination_service_namespace="${labelValue(service?.namespace)}"` +
    `,destination_service_name="${labelValue(service?.name)}"` +
    `,${to.head}${labelValue(toPrincipal)}${to.tail}` +
    `,request_protocol="tcp",response_flags="`;
  let tail = `",connection_security_policy="${parties.mutualTls ? 'mutual_tls' : 'unknown'}"`;
  const located = source ?? destination ?? sourceBaggage ?? destinationBaggage ?? parties.sourceIdentity;
  if (located !== undefined)
    tail +=
      `,source_region="${from.region}",source_zone="${from.zone}"` +
      `,destination_region="${to.region}",destination_zone="${to.zone}"`;
  return { head, tail, reporter: parties.reporter };
}

interface Kept {
  readonly parties: TrafficParties;
  readonly labels: TrafficLabels;
}

// Per pair of workloads: the few variants (service, reporter, identity) that were seen last.
const variants = 8;
const unknownWorkload = {};
// A node talks to few of the pairs that there could be; all are let go when there are too many.
const maxPairs = 20_000;
let pairs = 0;
let kept = new WeakMap<object, WeakMap<object, Kept[]>>();

const same = (a: TrafficParties, b: TrafficParties): boolean =>
  a.service === b.service &&
  a.reporter === b.reporter &&
  a.mutualTls === b.mutualTls &&
  a.sourceIdentity === b.sourceIdentity;

function addPair(from: object, to: object): Kept[] {
  if (++pairs > maxPairs) {
    pairs = 1;
    kept = new WeakMap();
  }
  let ofSource = kept.get(from);
  if (ofSource === undefined) kept.set(from, (ofSource = new WeakMap()));
  const seen: Kept[] = [];
  ofSource.set(to, seen);
  return seen;
}

/** The labels of a connection. The same object for the same parties, so long as nobody is known by baggage alone. */
export function trafficLabels(parties: TrafficParties): TrafficLabels {
  const byBaggage =
    parties.destinationBaggage !== undefined ||
    (parties.source === undefined && parties.sourceBaggage !== undefined);
  if (byBaggage) return makeLabels(parties);
  const from = parties.source ?? unknownWorkload;
  const to = parties.destination ?? unknownWorkload;
  const found = kept.get(from)?.get(to);
  for (const one of found ?? []) if (same(one.parties, parties)) return one.labels;
  const seen = found ?? addPair(from, to);
  const { reporter, source, destination, service, mutualTls, sourceIdentity } = parties;
  const labels = makeLabels(parties);
  if (seen.length >= variants) seen.shift();
  // The parties are copied: what is kept must not hold on to a caller's connection.
  seen.push({ parties: { reporter, source, destination, service, mutualTls, sourceIdentity }, labels });
  return labels;
}

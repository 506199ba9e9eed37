// Where a live connection would differ from what the objects say: pods that are not what they should be, proxies
// that are behind.
import { labels, string } from './fields.ts';
import { captureOf } from './explain-party.ts';
import type { ExplainRequest, PathReport } from './explain-report.ts';
import type { MeshModel } from './mesh-model.ts';
import type { SourceDocument } from './document.ts';

export interface ProxyState {
  /** `ztunnel-x.istio-system`. */
  readonly proxy: string;
  readonly node: string;
  readonly state: 'synced' | 'stale' | 'rejected';
  /** The proxy's own words, when it has rejected something. */
  readonly error?: string;
}

/** The pod of a proxy (`name.namespace`), if it is an instance of a Gateway; else it is the ztunnel of its node. */
export function gatewayPodOf(model: MeshModel, { proxy }: ProxyState): string | undefined {
  const dot = proxy.lastIndexOf('.');
  const key = `${proxy.slice(dot + 1)}/${proxy.slice(0, dot)}`;
  return model.lookup.facts('Pod', key)?.waypoint.instanceOf === undefined ? undefined : key;
}

export interface Difference {
  readonly about: string;
  readonly reason: string;
}

function ofPod(model: MeshModel, pod: SourceDocument): readonly Difference[] {
  const about = `pod ${pod.namespace}/${pod.name}`;
  const out: Difference[] = [];
  const { captured, wanted, because } = captureOf(model, pod);
  if (
    captured !== wanted &&
    labels(pod.object, 'metadata', 'labels')['networking.istio.io/tunnel'] === undefined
  )
    out.push({ about, reason: because });
  const facts = model.lookup.facts('Pod', `${pod.namespace}/${pod.name}`);
  if (facts === undefined) return out;
  if (pod.object.metadata.deletionTimestamp !== undefined)
    out.push({ about, reason: 'it is being deleted: services do not send new connections to it' });
  else if (!facts.healthy) {
    const phase = string(pod.object, 'status', 'phase');
    out.push({
      about,
      reason: `it is not ready (phase ${phase || 'unknown'}): services do not send connections to it`,
    });
  }
  return out;
}

export function differences(
  model: MeshModel,
  request: ExplainRequest,
  paths: readonly PathReport[],
): readonly Difference[] {
  if (!model.live) return [];
  const out: Difference[] = [];
  const pods = new Map<string, SourceDocument>();
  for (const party of [request.source, request.destination])
    if (party.kind === 'workload') {
      const pod = model.podOf(party.workload);
      if (pod !== undefined) pods.set(`${pod.namespace}/${pod.name}`, pod);
    }
  const nodes = new Set<string>();
  for (const { hops, endpoints } of paths) {
    for (const { node, decision } of hops)
      if (node !== undefined && decision !== 'direct' && decision !== 'uncaptured') nodes.add(node);
    for (const title of [...endpoints, ...hops.map(({ who }) => who)]) {
      const pod = title.startsWith('pod ') ? model.documents.get(`Pod ${title.slice(4)}`) : undefined;
      if (pod !== undefined) pods.set(`${pod.namespace}/${pod.name}`, pod);
    }
    // A path stands for all endpoints that get the same; its hops show one of them.
    for (const title of endpoints) {
      const pod = title.startsWith('pod ') ? model.documents.get(`Pod ${title.slice(4)}`) : undefined;
      const node = pod === undefined ? '' : string(pod.object, 'spec', 'nodeName');
      if (pod !== undefined && node !== '' && captureOf(model, pod).captured) nodes.add(node);
    }
  }
  for (const pod of pods.values()) out.push(...ofPod(model, pod));
  const { proxies, proxiesUnknown } = request;
  if (proxiesUnknown !== undefined)
    out.push({ about: 'proxies', reason: `whether they are up to date is not known: ${proxiesUnknown}` });
  if (proxies === undefined) return out;
  const behind = ({ proxy, state, error }: ProxyState): void => {
    if (state === 'rejected')
      out.push({
        about: proxy,
        reason: `it has rejected a push and uses what it had before: ${error ?? 'no reason given'}`,
      });
    else if (state === 'stale')
      out.push({ about: proxy, reason: 'it has not acknowledged the last push yet' });
  };
  const ztunnels = proxies.filter((proxy) => gatewayPodOf(model, proxy) === undefined);
  for (const node of nodes) {
    const own = ztunnels.filter((proxy) => proxy.node === node);
    if (own.length === 0)
      out.push({
        about: `node ${node}`,
        reason: 'no ztunnel of this node is connected to the control plane: what it knows may be old',
      });
    own.forEach(behind);
  }
  const waypoints = new Set(
    paths.flatMap(({ hops }) =>
      hops.filter(({ at }) => at === 'waypoint').map(({ who }) => who.replace(/^pod /, '')),
    ),
  );
  for (const name of waypoints) {
    const own = proxies.filter((proxy) => gatewayPodOf(model, proxy) === name);
    // A gateway that others made speaks another protocol to somebody else.
    if (own.length === 0 && model.documents.has(`Pod ${name}`))
      out.push({
        about: `waypoint ${name}`,
        reason: 'it is not connected to the control plane: what it knows may be old',
      });
    own.forEach(behind);
  }
  return out;
}

// Labels and annotations that decide what is in the mesh, and pods that are not what they ask for.
import { captureDefaults, captureAnnotations, CaptureError, podSettings } from '#/capture/index.ts';
import type { SourceDocument } from '../document.ts';
import { labels, string } from '../fields.ts';
import type { Analyzer, Report } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';
import { annotations, dataplaneLabel } from '../names.ts';

const useWaypoint = 'istio.io/use-waypoint';

/** Objects whose own labels nobody reads; their pods' labels are in the template. */
const makers = ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Job', 'CronJob'];

const sidecarAnnotations =
  /^(?:traffic\.sidecar\.istio\.io\/|proxy\.istio\.io\/config$|sidecar\.istio\.io\/(?:proxy|userVolume|bootstrap|componentLogLevel|logLevel))/;

function mode(document: SourceDocument, field: string, value: string | undefined, report: Report): void {
  if (value === undefined || value === 'ambient' || value === 'none' || value === '') return;
  report(
    'AUR0104',
    document,
    `${field}[${dataplaneLabel}]`,
    `label ${dataplaneLabel}=${value}: it counts as not set`,
  );
}

function podLabels(model: MeshModel, pod: SourceDocument, report: Report): void {
  const own = labels(pod.object, 'metadata', 'labels');
  mode(pod, 'metadata.labels', own[dataplaneLabel], report);
  const noted = labels(pod.object, 'metadata', 'annotations');
  const eligible = model.eligibility(pod);
  const captured = model.isCaptured(pod);
  const wanted =
    own[dataplaneLabel] === 'ambient' ||
    (own[dataplaneLabel] !== 'none' && model.namespaceLabels(pod.namespace)[dataplaneLabel] === 'ambient');
  for (const key of Object.keys(noted))
    if (wanted && sidecarAnnotations.test(key) && noted[annotations.sidecarStatus] === undefined)
      report(
        'AUR0108',
        pod,
        `metadata.annotations[${key}]`,
        `annotation ${key} is for sidecars, this pod is captured by ztunnel`,
      );
  if (captured || eligible.enabled)
    try {
      podSettings(captureDefaults, noted);
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      const key = Object.values(captureAnnotations).find((name) => error.message.includes(name)) ?? '';
      report('AUR0107', pod, `metadata.annotations[${key}]`, error.message);
    }
  if (wanted && noted[annotations.sidecarStatus] !== undefined)
    report('AUR0102', pod, 'metadata.labels', 'the labels ask for ambient, but the pod has a sidecar');
  else if (wanted && string(pod.object, 'spec', 'hostNetwork') === '' && isHostNetwork(pod))
    report(
      'AUR0103',
      pod,
      'spec.hostNetwork',
      'the namespace is in the mesh, this pod uses the network of the host',
    );
  if (!model.live) return;
  const phase = string(pod.object, 'status', 'phase');
  if (phase !== 'Running' || pod.object.metadata.deletionTimestamp !== undefined) return;
  const where = string(pod.object, 'spec', 'nodeName');
  if (eligible.enabled && !captured)
    report(
      'AUR0101',
      pod,
      'metadata.annotations',
      `the labels ask for the mesh, but the node agent of node ${where} has not captured the pod`,
    );
  else if (!eligible.enabled && captured)
    report('AUR0106', pod, 'metadata.annotations', `it is captured, though ${eligible.reason}`);
}

const isHostNetwork = (pod: SourceDocument): boolean =>
  (pod.object.spec as { hostNetwork?: unknown } | undefined)?.hostNetwork === true;

export const enrolment: Analyzer = (model, report) => {
  for (const namespace of model.all('Namespace')) {
    const own = labels(namespace.object, 'metadata', 'labels');
    mode(namespace, 'metadata.labels', own[dataplaneLabel], report);
    if (own[dataplaneLabel] !== 'ambient') continue;
    const injecting =
      own['istio-injection'] === 'enabled'
        ? 'istio-injection'
        : own['istio.io/rev'] !== undefined && own['istio-injection'] !== 'disabled'
          ? 'istio.io/rev'
          : undefined;
    if (injecting === 'istio-injection')
      report(
        'AUR0109',
        namespace,
        `metadata.labels[${injecting}]`,
        `label ${injecting}=${own[injecting]} asks for sidecars, ${dataplaneLabel}=ambient for none`,
      );
    const probe = model.input.enrolment({ metadata: { namespace: namespace.name } }, own);
    if (!probe.enabled)
      report(
        'AUR0110',
        namespace,
        `metadata.labels[${dataplaneLabel}]`,
        `its pods do not come into the mesh: ${probe.reason}`,
      );
  }
  for (const pod of model.all('Pod')) podLabels(model, pod, report);
  for (const kind of makers)
    for (const document of model.all(kind)) {
      const own = labels(document.object, 'metadata', 'labels');
      const inner = labels(document.object, 'spec', 'template', 'metadata', 'labels');
      for (const key of [dataplaneLabel, useWaypoint])
        if (own[key] !== undefined && inner[key] === undefined)
          report(
            'AUR0105',
            document,
            `metadata.labels[${key}]`,
            `label ${key} is on the ${kind}, where nobody reads it; the pods get those of its template`,
          );
    }
  for (const kind of ['Service', 'ServiceEntry'])
    for (const document of model.all(kind))
      if (labels(document.object, 'metadata', 'labels')[dataplaneLabel] !== undefined)
        report(
          'AUR0105',
          document,
          `metadata.labels[${dataplaneLabel}]`,
          `label ${dataplaneLabel} is on a ${kind}, where nobody reads it`,
        );
  for (const kind of ['Namespace', 'Service', 'ServiceEntry', 'Pod', ...makers])
    for (const document of model.all(kind))
      for (const key of [dataplaneLabel, useWaypoint])
        if (labels(document.object, 'metadata', 'annotations')[key] !== undefined)
          report(
            'AUR0105',
            document,
            `metadata.annotations[${key}]`,
            `${key} is an annotation here; it is read as a label only`,
            `make it a label`,
          );
};

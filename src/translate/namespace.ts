// Namespaces and Nodes: they give no record of their own, others look them up.
import { emptyLocality, type Locality } from '#/model/index.ts';
import { annotation, label } from './names.ts';
import { annotationsOf, labelsOf, objectFacts, type ObjectFacts, type SourceObject } from './object.ts';
import type { Labels } from './read.ts';

export interface NamespaceFacts extends ObjectFacts {
  readonly labels: Labels;
  readonly trafficDistribution: string | undefined;
  readonly canaryWeight: string | undefined;
}

export function readNamespace(object: SourceObject): NamespaceFacts {
  const annotations = annotationsOf(object);
  return {
    ...objectFacts(object),
    labels: labelsOf(object),
    trafficDistribution: annotations[annotation.trafficDistribution],
    canaryWeight: annotations[annotation.canaryWeight],
  };
}

export interface NodeFacts extends ObjectFacts {
  readonly locality: Locality;
}

export function readNode(object: SourceObject): NodeFacts {
  const labels = labelsOf(object);
  const region = labels[label.region] ?? '';
  const zone = labels[label.zone] ?? '';
  const subzone = labels[label.subzone] ?? '';
  return {
    ...objectFacts(object),
    locality: region === '' && zone === '' && subzone === '' ? emptyLocality : { region, zone, subzone },
  };
}

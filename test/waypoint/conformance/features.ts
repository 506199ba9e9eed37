// All features that are tested, by the names of the conformance suite.
import { corsFeature } from './cors-cases.ts';
import type { Feature } from './feature.ts';
import { grpcFeatures } from './grpc-cases.ts';
import { headerFeatures, headerManifest, headerTests } from './header-cases.ts';
import {
  matchingManifest,
  matchingTests,
  meshQueryFeature,
  methodFeature,
  queryFeature,
} from './matching-cases.ts';
import { clusterIpFeature, meshFeature, portFeature } from './mesh-cases.ts';
import { mirrorFeatures } from './mirror-cases.ts';
import { protocolFeatures } from './protocol-cases.ts';
import { redirectFeatures, redirectManifest, redirectTests } from './redirect-cases.ts';
import { rewriteFeatures } from './rewrite-cases.ts';
import { serviceManifest, serviceTests } from './service-cases.ts';
import { streamFeatures } from './stream-cases.ts';
import { statusManifest, statusTests } from './status-cases.ts';
import { timeFeatures } from './time-cases.ts';

const httpRoute: Feature = {
  name: 'HTTPRoute',
  manifest: matchingManifest + headerManifest + redirectManifest + statusManifest + serviceManifest,
  tests(lab) {
    matchingTests(lab);
    headerTests(lab);
    redirectTests(lab);
    statusTests(lab);
    serviceTests(lab);
  },
};

export const features: readonly Feature[] = [
  meshFeature,
  clusterIpFeature,
  httpRoute,
  portFeature,
  methodFeature,
  queryFeature,
  meshQueryFeature,
  ...headerFeatures,
  ...redirectFeatures,
  ...rewriteFeatures,
  ...mirrorFeatures,
  ...timeFeatures,
  corsFeature,
  ...protocolFeatures,
  ...streamFeatures,
  ...grpcFeatures,
];

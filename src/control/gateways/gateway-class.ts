// The GatewayClass that we serve: the object, made if there is none, and its status. Classes of gateways that we have
// no program for are not made, so that nobody waits for a Gateway of theirs.
import { conditionsAt } from './conditions.ts';
import { meshController, waypointClass, type GatewayClass } from './gateway-object.ts';

/** Features of the Gateway API that waypoints have, by the names of its conformance suite; sorted. */
export const supportedFeatures: readonly string[] = [
  'GRPCRoute',
  'GRPCRouteNamedRouteRule',
  'HTTPRoute',
  'HTTPRoute303RedirectStatusCode',
  'HTTPRoute307RedirectStatusCode',
  'HTTPRoute308RedirectStatusCode',
  'HTTPRouteBackendProtocolH2C',
  'HTTPRouteBackendProtocolWebSocket',
  'HTTPRouteBackendRequestHeaderModification',
  'HTTPRouteBackendTimeout',
  'HTTPRouteCORS',
  'HTTPRouteHostRewrite',
  'HTTPRouteMethodMatching',
  'HTTPRouteNamedRouteRule',
  'HTTPRouteParentRefPort',
  'HTTPRoutePathRedirect',
  'HTTPRoutePathRewrite',
  'HTTPRoutePortRedirect',
  'HTTPRouteQueryParamMatching',
  'HTTPRouteRequestMirror',
  'HTTPRouteRequestMultipleMirrors',
  'HTTPRouteRequestPercentageMirror',
  'HTTPRouteRequestTimeout',
  'HTTPRouteResponseHeaderModification',
  'HTTPRouteRetry',
  'HTTPRouteRetryBackendTimeout',
  'HTTPRouteRetryConnectionError',
  'HTTPRouteSchemeRedirect',
  'Mesh',
  'MeshClusterIPMatching',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteNamedRouteRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
  'TCPRoute',
  'TLSRoute',
];

export const waypointClassObject: GatewayClass = {
  metadata: { name: waypointClass },
  spec: {
    controllerName: meshController,
    // No more than 64 characters.
    description: 'Waypoints of the mesh: routing and policy for requests',
  },
};

/** Undefined if the class says it already. */
export function classStatus(
  gatewayClass: GatewayClass,
  nowMs: number,
): NonNullable<GatewayClass['status']> | undefined {
  const { status, metadata } = gatewayClass;
  const conditions = conditionsAt(
    [
      {
        type: 'Accepted',
        status: true,
        reason: 'Accepted',
        message: 'Gateways of this class are waypoints of the mesh',
      },
    ],
    status?.conditions,
    metadata.generation,
    nowMs,
  );
  const [accepted] = conditions;
  const before = status?.conditions?.find(({ type }) => type === 'Accepted');
  const settled =
    before?.status === 'True' &&
    before.message === accepted?.message &&
    before.observedGeneration === accepted?.observedGeneration &&
    supportedFeatures.length === status?.supportedFeatures?.length &&
    supportedFeatures.every((name, i) => status?.supportedFeatures?.[i]?.name === name);
  return settled ? undefined : { conditions, supportedFeatures: supportedFeatures.map((name) => ({ name })) };
}

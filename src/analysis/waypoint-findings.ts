// The part of the registry that is about what waypoints do: routes, tokens, subsets, providers.
import { entry } from './finding-entry.ts';

export const waypointFindings = {
  AUR0901: entry(
    'ConsumerRoute',
    'warn',
    'the route is neither in the namespace of the service nor in that of its waypoint: it has no effect',
    'move the route to the namespace of the service',
  ),
  AUR0902: entry(
    'RouteRefused',
    'error',
    'a parent of the route does not exist, has not this port, or does not take the route: it has no effect there',
    'correct parentRefs, or allow the namespace in allowedRoutes of the listener',
  ),
  AUR0903: entry(
    'TwoKindsOfRoutes',
    'warn',
    'a service has a VirtualService and routes of the Gateway API: only the latter count',
    'keep one kind of route for the service',
  ),
  AUR0904: entry(
    'NoWeight',
    'error',
    'a rule has no destination with a weight: requests that match get 500',
    'give a destination a weight above 0',
  ),
  AUR0905: entry(
    'BackendMissing',
    'error',
    'a destination does not exist or has not this port: its share of requests gets 500',
    'correct the name and port of the destination',
  ),
  AUR0906: entry(
    'RuleUnreachable',
    'warn',
    'rules before it take every request that this one would take',
    'put the rule before them, or remove it',
  ),
  AUR0907: entry(
    'BadPattern',
    'error',
    'a pattern is no regular expression in RE2 syntax; the rule cannot be used as it is written',
    'correct the pattern: RE2 has no look-around and no back-references',
  ),
  AUR0908: entry(
    'SubsetEmpty',
    'warn',
    'no pod of the service has the labels of the subset: requests to it get 503',
    'compare the labels of the subset with those of the pods',
  ),
  AUR0909: entry(
    'SubsetUnknown',
    'error',
    'no DestinationRule that counts at the waypoint defines the subset: requests to it get 503',
    'define the subset in a DestinationRule in the namespace of the service or of its waypoint',
  ),
  AUR0910: entry(
    'TokenNotRequired',
    'warn',
    'no policy asks for a token: requests without one pass',
    'add a DENY policy with notRequestPrincipals ["*"], or ALLOW policies with requestPrincipals',
  ),
  AUR0911: entry(
    'NoKeys',
    'error',
    'a rule for tokens has no key that a token could be checked with: every token is refused',
    'give jwks with keys, jwksUri, or an issuer that is an https URL with a discovery document',
  ),
  AUR0912: entry(
    'ProviderUnknown',
    'error',
    'an extension provider is named that the mesh does not have',
    'define it under extensionProviders of MeshConfig (ConfigMap istio, key mesh)',
  ),
  AUR0913: entry(
    'WaypointWithoutPods',
    'error',
    'no pod of the waypoint is ready: traffic for what is bound to it is refused',
    'look at the pods of the waypoint and at its Deployment',
  ),
  AUR0914: entry(
    'UndeclaredProtocol',
    'info',
    'a port behind a waypoint declares no protocol: the waypoint has to wait for the first bytes, and a client that waits for the server to speak first is delayed',
    'set appProtocol, or a name such as http-web or tcp-db',
  ),
  AUR0915: entry(
    'HeadlessBehindWaypoint',
    'warn',
    'a headless service is bound to a waypoint: clients connect to its pods by their own addresses, which goes round it',
    'give the service an address, or bind the pods to a waypoint for workloads',
  ),
} as const;

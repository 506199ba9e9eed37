// Every kind of mistake that `aura analyze` knows, in one table. Codes are stable: scripts and docs/analyze.md name
// them. 00 what cannot be read, 01 enrolment, 02 waypoints, 03 AuthorizationPolicy, 04 PeerAuthentication, 05 objects
// without effect in ambient, 06 services and their entries, 07 NetworkPolicy, 08 the running mesh.

export type Level = 'error' | 'warn' | 'info';

export interface FindingEntry {
  readonly name: string;
  readonly level: Level;
  /** What is wrong, in general. */
  readonly means: string;
  /** The way out. */
  readonly fix: string;
}

const entry = (name: string, level: Level, means: string, fix: string): FindingEntry => ({
  name,
  level,
  means,
  fix,
});

export const findingRegistry = {
  AUR0001: entry(
    'Unreadable',
    'error',
    'the text is no YAML or JSON, or not an object of Kubernetes',
    'correct the text; nothing of this part was analyzed',
  ),
  AUR0002: entry(
    'Duplicate',
    'warn',
    'the same object is given twice; the last one counts',
    'keep one of them',
  ),
  AUR0101: entry(
    'NotCaptured',
    'error',
    'the labels ask for the mesh, but the pod is not captured: its traffic is plain text and no policy holds for it',
    'restart the pod; if it stays so, look at the node agent of its node (istio-cni-node)',
  ),
  AUR0102: entry(
    'SidecarInAmbient',
    'warn',
    'a pod with a sidecar is not captured: policies for ztunnel and waypoints do not hold for it',
    'remove the sidecar (label sidecar.istio.io/inject=false, then restart) or label the pod istio.io/dataplane-mode=none',
  ),
  AUR0103: entry(
    'HostNetwork',
    'info',
    'a pod on the network of the host is never captured',
    'take it off the host network, or protect it by other means',
  ),
  AUR0104: entry(
    'UnknownDataplaneMode',
    'error',
    'istio.io/dataplane-mode has a value that means nothing',
    'write ambient, or none',
  ),
  AUR0105: entry(
    'LabelOnWrongObject',
    'warn',
    'a label of the mesh stands where nobody reads it',
    'move it: istio.io/dataplane-mode to the Namespace or to the pod template; istio.io/use-waypoint to the Service, the Namespace or the pod template',
  ),
  AUR0106: entry(
    'StillCaptured',
    'warn',
    'the pod is captured though nothing asks for it',
    'restart the pod, or look at the node agent of its node',
  ),
  AUR0107: entry(
    'BadCaptureAnnotation',
    'error',
    'an annotation for capture has a value that cannot be used; the node agent refuses the pod',
    'write true or false, or names of interfaces',
  ),
  AUR0108: entry(
    'SidecarAnnotation',
    'warn',
    'an annotation for sidecars has no effect on a pod without one',
    'remove it; to leave a pod uncaptured, label it istio.io/dataplane-mode=none',
  ),
  AUR0109: entry(
    'InjectionAndAmbient',
    'warn',
    'a namespace asks for sidecars and for ambient: pods get a sidecar and are not captured',
    'remove the label istio-injection or istio.io/rev',
  ),
  AUR0110: entry(
    'ExcludedNamespace',
    'warn',
    'the namespace is excluded from the mesh by the node agent, whatever its label says',
    'remove the label, or move the workloads to another namespace',
  ),
  AUR0201: entry(
    'WaypointMissing',
    'error',
    'a label names a waypoint that does not exist; traffic is refused',
    'create it (a Gateway of class istio-waypoint), or correct the label',
  ),
  AUR0202: entry(
    'WaypointNotReady',
    'error',
    'a waypoint has no address yet; traffic is refused',
    'look at the status of the Gateway and at the pods of the waypoint',
  ),
  AUR0203: entry(
    'NotAWaypoint',
    'error',
    'a label names a Gateway that is not a waypoint',
    'use gatewayClassName istio-waypoint, or name another Gateway',
  ),
  AUR0204: entry(
    'WaypointDenied',
    'error',
    'a waypoint of another namespace does not take this one; traffic is refused',
    'allow the namespace in allowedRoutes.namespaces of its HBONE listener',
  ),
  AUR0205: entry(
    'WaypointTrafficType',
    'warn',
    'a waypoint does not take this kind of traffic, so that it goes round it',
    'set the label istio.io/waypoint-for of the Gateway to service, workload or all',
  ),
  AUR0206: entry(
    'WaypointCanary',
    'warn',
    'the canary waypoint is not used',
    'correct the labels istio.io/use-waypoint-canary… and the weight, 0 to 100',
  ),
  AUR0207: entry(
    'WaypointNotVisible',
    'error',
    'a ServiceEntry that only its namespace sees is bound to a waypoint of another one',
    'use a waypoint of the same namespace, or make the entry public',
  ),
  AUR0208: entry(
    'WaypointUnused',
    'info',
    'nothing is bound to the waypoint',
    'label a Namespace or Service istio.io/use-waypoint, or remove the Gateway',
  ),
  AUR0209: entry(
    'WaypointNotAllowed',
    'warn',
    'an ALLOW policy does not admit the waypoint, from which traffic comes once there is one: it is refused',
    "add the waypoint's principal to the policy, and put the rules for clients into one with targetRefs",
  ),
  AUR0210: entry(
    'WaypointBypass',
    'warn',
    'a policy for the waypoint does not hold for who goes to the pods directly, or from outside the mesh',
    "add an ALLOW policy with a selector that admits the waypoint's principal alone",
  ),
  AUR0211: entry(
    'WaypointListener',
    'warn',
    'a waypoint has no listener for HBONE on port 15008',
    'add a listener with port 15008 and protocol HBONE',
  ),
  AUR0212: entry(
    'IngressGoesRound',
    'info',
    'traffic from ingress gateways goes round the waypoint',
    'label the Service or Namespace istio.io/ingress-use-waypoint=true',
  ),
  AUR0213: entry(
    'NeedsWaypoint',
    'warn',
    'a ServiceEntry has something that only a waypoint can do, and is not bound to one',
    'label it istio.io/use-waypoint',
  ),
  AUR0301: entry(
    'HttpAtZtunnel',
    'error',
    'ztunnel cannot check attributes of HTTP: ALLOW rules that have them allow nothing, DENY rules refuse more than they say',
    'attach the policy to a Service or Gateway with targetRefs, and bind a waypoint',
  ),
  AUR0302: entry(
    'PolicyNotEnforced',
    'error',
    'ztunnel does not do what the policy asks for: it has no effect',
    'use ALLOW or DENY, or attach the policy to a waypoint with targetRefs',
  ),
  AUR0303: entry(
    'PolicyBadValue',
    'error',
    'a value of the policy cannot be read: until it is corrected, the policy refuses all that it selects',
    'correct the value',
  ),
  AUR0304: entry(
    'PrincipalWithScheme',
    'error',
    'principals are written without spiffe://',
    'remove spiffe://',
  ),
  AUR0305: entry(
    'TargetNotBound',
    'error',
    'the target of the policy is not bound to a waypoint: nobody checks the policy',
    'label the Service or its Namespace istio.io/use-waypoint',
  ),
  AUR0306: entry('TargetMissing', 'error', 'the target of the policy does not exist', 'correct targetRefs'),
  AUR0307: entry(
    'TargetInvalid',
    'error',
    'the policy cannot have this target',
    'refer to a Service, ServiceEntry or Gateway of the same namespace',
  ),
  AUR0308: entry(
    'SelectsNothing',
    'warn',
    'the selector of the policy matches no pod',
    'compare it with the labels of the pods',
  ),
  AUR0309: entry(
    'ForeignTrustDomain',
    'warn',
    'a principal is of another trust domain than that of the mesh: it matches no pod of it',
    'begin it with the trust domain of the mesh',
  ),
  AUR0310: entry(
    'UnknownClient',
    'warn',
    'a rule names a client that does not exist: it matches nobody',
    'correct the namespace or service account',
  ),
  AUR0311: entry(
    'PolicyOnUncaptured',
    'error',
    'the policy selects pods that are not captured: nobody checks it there',
    'take the pods into the mesh',
  ),
  AUR0312: entry(
    'AllowsNothing',
    'info',
    'an ALLOW policy without rules refuses all traffic to what it selects',
    'nothing, if that is meant; else add rules',
  ),
  AUR0313: entry(
    'ServicePortInPolicy',
    'error',
    'ztunnel compares the port of the pod, not that of the Service: the rule does not match',
    'write the target port',
  ),
  AUR0314: entry('RuleNeverMatches', 'warn', 'a part of the rule can never hold', 'correct or remove it'),
  AUR0315: entry(
    'MalformedPrincipal',
    'error',
    'a principal is not of the form TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT: it matches nobody',
    'write it so',
  ),
  AUR0401: entry(
    'BadMtlsMode',
    'error',
    'a mode or port cannot be read; the stricter meaning is taken',
    'write STRICT, PERMISSIVE or UNSET, and ports from 1 to 65535',
  ),
  AUR0402: entry(
    'PeerAuthenticationUnused',
    'warn',
    'a part of the PeerAuthentication has no effect',
    'move it to where it has: a selector works outside of the root namespace, ports only with a selector',
  ),
  AUR0403: entry(
    'DisableIsPermissive',
    'warn',
    'in ambient, DISABLE means PERMISSIVE: traffic of the mesh stays encrypted',
    'write PERMISSIVE',
  ),
  AUR0404: entry(
    'SeveralPeerAuthentications',
    'warn',
    'several PeerAuthentications are for the same workloads; the oldest decides',
    'keep one of them',
  ),
  AUR0405: entry(
    'StrictOnUncaptured',
    'error',
    'STRICT is asked for pods that are not captured: they take plain text',
    'take the pods into the mesh',
  ),
  AUR0501: entry('SidecarIgnored', 'warn', 'a Sidecar has no effect on pods without one', 'remove it'),
  AUR0502: entry(
    'EnvoyConfigIgnored',
    'warn',
    'EnvoyFilter and WasmPlugin have no effect in ambient',
    'remove it, or use a policy or route that a waypoint knows',
  ),
  AUR0503: entry(
    'RouteWithoutWaypoint',
    'warn',
    'the host is not bound to a waypoint: the route or rule has no effect',
    'label the Service istio.io/use-waypoint',
  ),
  AUR0504: entry(
    'JwtWithoutWaypoint',
    'error',
    'ztunnel cannot check tokens: RequestAuthentication with a selector has no effect',
    'attach it to a Service or Gateway with targetRefs, and bind a waypoint',
  ),
  AUR0505: entry(
    'VirtualServiceInAmbient',
    'info',
    'waypoints take VirtualService as alpha, and not together with routes of the Gateway API',
    'use HTTPRoute',
  ),
  AUR0601: entry(
    'InvalidValue',
    'error',
    'a value of the object cannot be used and is left out',
    'correct the value',
  ),
  AUR0602: entry(
    'HostTaken',
    'warn',
    'another Service or an older ServiceEntry has the same host: this one gets no traffic for it',
    'remove one of them',
  ),
  AUR0603: entry(
    'ExportToIgnored',
    'warn',
    'exportTo has no effect in ambient: all namespaces see the object',
    'use serviceEntryVisibility of the mesh',
  ),
  AUR0604: entry(
    'NoEndpoint',
    'warn',
    'the Service selects no ready pod',
    'compare its selector with the labels of the pods, and look at their readiness',
  ),
  AUR0605: entry(
    'UnknownTargetPort',
    'warn',
    'a port of the Service has a target name that no selected pod has',
    'name the port of the container so, or write a number',
  ),
  AUR0606: entry(
    'ExternalName',
    'info',
    'a Service of type ExternalName is not known to the mesh: the client resolves its name',
    'name the real host in a ServiceEntry',
  ),
  AUR0607: entry(
    'EntryWithoutAddress',
    'warn',
    'a ServiceEntry with a host and no address gets its traffic by DNS capture, which is off for some of its clients',
    'turn ambient.istio.io/dns-capture on for the clients, or give addresses',
  ),
  AUR0701: entry(
    'HboneBlocked',
    'error',
    'a NetworkPolicy does not let the mesh in: HBONE comes to port 15008 of the pod',
    'allow port 15008 in ingress',
  ),
  AUR0702: entry(
    'ProbesBlocked',
    'warn',
    "a NetworkPolicy may block the kubelet's probes, which come from 169.254.7.127 to captured pods",
    'allow 169.254.7.127/32 in ingress',
  ),
  AUR0801: entry(
    'StatusBehind',
    'warn',
    'the status of the object does not say what it should: the control plane is behind or does not run',
    'look at the control plane, and at `aura proxy-status`',
  ),
  AUR0802: entry(
    'ProxyRejects',
    'error',
    'a proxy has rejected a push and uses what it had before',
    'look at the object that it names',
  ),
  AUR0803: entry(
    'ProxyBehind',
    'warn',
    'a proxy has not acknowledged the last push',
    'look again; then at the proxy',
  ),
  AUR0804: entry(
    'NoProxy',
    'error',
    'no ztunnel of the node is connected to the control plane',
    'look at the ztunnel pod of the node',
  ),
  AUR0805: entry(
    'NotSeen',
    'info',
    'objects could not be read, so that findings may be missing or wrong',
    'use an account that may list them',
  ),
} as const satisfies Readonly<Record<string, FindingEntry>>;

export type FindingCode = keyof typeof findingRegistry;

export const levels: readonly Level[] = ['error', 'warn', 'info'];

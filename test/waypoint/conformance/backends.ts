// Who answers, and what stands before them. In the namespace `mesh`: an echo in two versions, the Service `echo` of both,
// `echo-v1` and `echo-v2`, and for each case a front: a Service of both versions, so that only a route makes a
// difference. `away` is another namespace with a version and a client of its own.

export const mesh = 'conformance-mesh';
export const away = 'conformance-away';

const namespace = (name: string): string => `
apiVersion: v1
kind: Namespace
metadata: { name: ${name}, labels: { istio.io/dataplane-mode: ambient } }
---`;

const echo = (where: string, version: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo-${version}, namespace: ${where} }
spec:
  selector: { matchLabels: { app: echo, version: ${version} } }
  template:
    metadata: { labels: { app: echo, version: ${version} } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: echo
          image: aura/echo
          env: [{ name: SERVICE_VERSION, value: ${version} }]
          readinessProbe: { tcpSocket: { port: 9090 }, periodSeconds: 2 }
---`;

const client = (where: string): string => `
apiVersion: v1
kind: ServiceAccount
metadata: { name: client, namespace: ${where} }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: client, namespace: ${where} }
spec:
  selector: { matchLabels: { app: client } }
  template:
    metadata: { labels: { app: client } }
    spec:
      serviceAccountName: client
      terminationGracePeriodSeconds: 1
      containers: [{ name: client, image: aura/debug }]
---`;

/** HTTP on 80 and 8080, HTTP/2 with prior knowledge on 7070, WebSocket on 7071, gRPC on 9090, TCP on 9000. */
export function service(name: string, selector = 'app: echo', where = mesh): string {
  return `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${where} }
spec:
  selector: { ${selector} }
  ports:
    - { name: http, port: 80, targetPort: 8080 }
    - { name: http-alt, port: 8080, targetPort: 8080 }
    - { name: h2c, port: 7070, targetPort: 8080, appProtocol: kubernetes.io/h2c }
    - { name: ws, port: 7071, targetPort: 8080, appProtocol: kubernetes.io/ws }
    - { name: grpc, port: 9090, targetPort: 9090, appProtocol: grpc }
    - { name: tcp, port: 9000, targetPort: 9000, appProtocol: tcp }
---`;
}

export const backends = [
  namespace(mesh),
  namespace(away),
  echo(mesh, 'v1'),
  echo(mesh, 'v2'),
  echo(away, 'v3'),
  service('echo'),
  service('echo-v1', 'app: echo, version: v1'),
  service('echo-v2', 'app: echo, version: v2'),
  service('echo', 'app: echo', away),
  client(mesh),
  client(away),
].join('');

export type RouteKind = 'HTTPRoute' | 'GRPCRoute' | 'TCPRoute' | 'TLSRoute';

const indented = (text: string, by: string): string =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => `${by}${line}`)
    .join('\n');

/** A route of whatever kind; `spec` holds all but the parents, which are Services of the namespace unless written out. */
export function route(
  kind: RouteKind,
  name: string,
  parents: readonly string[],
  spec: string,
  where = mesh,
): string {
  const refs = parents.map((parent) =>
    parent.startsWith('{') ? parent : `{ group: '', kind: Service, name: ${parent} }`,
  );
  return `
apiVersion: gateway.networking.k8s.io/${kind === 'TCPRoute' ? 'v1alpha2' : 'v1'}
kind: ${kind}
metadata: { name: ${name}, namespace: ${where} }
spec:
  parentRefs: [${refs.join(', ')}]
${indented(spec, '  ')}
---`;
}

/** A front and its HTTPRoute, of one name. */
export const httpCase = (name: string, rules: string): string =>
  service(name) + route('HTTPRoute', name, [name], `rules:\n${rules}`);

/** A front and its GRPCRoute, of one name. */
export const grpcCase = (name: string, rules: string): string =>
  service(name) + route('GRPCRoute', name, [name], `rules:\n${rules}`);

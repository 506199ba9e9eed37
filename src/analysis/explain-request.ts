// What a waypoint does with one request, or with a connection that is not HTTP: the order is that of the waypoint, the
// functions are its own.
import type { Ip } from '#/kit/index.ts';
import { serviceKey, type Identity, type Service, type Workload } from '#/model/index.ts';
import { explainHttp, explainTcp, type HttpExplanation } from '#/policy/index.ts';
import type { MeshModel } from './mesh-model.ts';
import { appliedObjects } from './request-applied.ts';
import { httpPolicyReport, unaskedHttp } from './request-policies.ts';
import type { RequestReport } from './request-report.ts';
import { httpRouteReport, tcpRouteReport } from './request-routes.ts';
import { judgeToken } from './request-token.ts';
import { plansOf, streamWays, type Way } from './request-ways.ts';
import { askedRequest, subjectOf, type RequestWish } from './request-wish.ts';

export interface RequestAtWaypoint {
  readonly model: MeshModel;
  readonly gateway: string;
  readonly service: Service | undefined;
  readonly workload: Workload | undefined;
  readonly source: Ip;
  readonly destination: { readonly ip: Ip; readonly port: number };
  readonly identity: Identity | undefined;
  readonly wish: RequestWish;
}

export interface ExplainedRequest {
  readonly report: RequestReport;
  readonly ways: readonly Way[];
}

const protocols: Readonly<Record<string, string>> = { HTTP11: 'HTTP', HTTP2: 'HTTP/2', GRPC: 'gRPC' };

function protocolOf({ service, workload, destination, wish, model }: RequestAtWaypoint): {
  readonly protocol: 'http' | 'tcp';
  readonly declared: string;
  readonly because: string;
} {
  const declared =
    service?.ports.find(({ servicePort }) => servicePort === destination.port)?.appProtocol ??
    (workload === undefined ? undefined : declaredAt(model, workload, destination.port)) ??
    'UNKNOWN';
  if (declared === 'TLS') {
    const { host } = wish;
    const name =
      host === undefined ? 'no name of a server is assumed; say one with --host' : `SNI is ${host}`;
    return { protocol: 'tcp', declared, because: `the port declares TLS: ${name}` };
  }
  if (declared === 'TCP')
    return {
      protocol: 'tcp',
      declared,
      because: `the port declares ${declared}: there are no requests to look at`,
    };
  if (declared !== 'UNKNOWN')
    return { protocol: 'http', declared, because: `the port declares ${protocols[declared] ?? declared}` };
  const said = Object.keys(wish).length > 0;
  return {
    protocol: 'http',
    declared,
    because: `the port declares no protocol: the waypoint looks at the first bytes; HTTP is ${said ? 'what is asked about' : 'assumed'}`,
  };
}

/** What the services that lead to the port say of it. */
function declaredAt(model: MeshModel, workload: Workload, port: number): string | undefined {
  for (const service of model.store.servicesOf(workload)) {
    const mapping = workload.services[serviceKey(service)]?.find(({ targetPort }) => targetPort === port);
    const found = service.ports.find(({ servicePort }) => servicePort === mapping?.servicePort)?.appProtocol;
    if (found !== undefined && found !== 'UNKNOWN') return found;
  }
  return undefined;
}

interface Judged {
  readonly allow: boolean;
  readonly reason: string;
  readonly by?: string;
}

function verdictOf({ verdict, policies }: HttpExplanation): Judged {
  const by = verdict.by?.policy;
  if (!verdict.allow)
    return {
      allow: false,
      reason:
        by === undefined
          ? 'RBAC: access denied: allow policies exist, but none allowed'
          : `RBAC: access denied: denied by ${by}, rule ${(verdict.by?.rule ?? 0) + 1}`,
      ...(by === undefined ? {} : { by }),
    };
  if (by !== undefined) return { allow: true, reason: `allowed by ${by}`, by };
  const some = policies.some(({ dryRun }) => !dryRun);
  return {
    allow: true,
    reason: some ? 'no DENY policy matches, and there is no ALLOW policy' : 'no policy applies',
  };
}

export function explainRequest(at: RequestAtWaypoint): ExplainedRequest {
  const { model, gateway, service, workload, destination, identity, source, wish } = at;
  const config = model.waypointConfig(gateway);
  const key = service === undefined ? undefined : serviceKey(service);
  const attached = config.attachedTo(key, workload?.uid);
  const { protocol, declared, because: protocolBecause } = protocolOf(at);
  const asked = askedRequest(wish, service, destination.ip, destination.port, declared === 'GRPC');
  const tokens = judgeToken(model, protocol === 'http' ? attached.authentications : [], wish.claims);
  const subject = subjectOf(
    asked,
    {
      identity,
      source,
      destination,
      service: key,
      workload: workload?.uid,
      sni: declared === 'TLS' ? wish.host?.replace(/:[0-9]+$/, '') : undefined,
    },
    tokens.token,
  );
  const policies = config.compile(attached.policies);
  const explained =
    protocol === 'http' ? explainHttp(policies, subject) : explainTcp(policies, subject.connection);
  const judged: Judged & { readonly code?: string } =
    tokens.refusal === undefined
      ? verdictOf(explained)
      : { allow: false, reason: tokens.refusal.reason, code: `HTTP_${tokens.refusal.status}` };
  const asks = [...new Set(explained.verdict.ask.map(({ provider }) => provider))];
  const http = protocol === 'http' ? plansOf(config, subject) : undefined;
  const stream = protocol === 'tcp' ? streamWays(config, subject.connection) : undefined;
  const ways = judged.allow ? ((http ?? stream)?.ways ?? []) : [];
  const namespaces = [
    ...new Set([gateway, key ?? '', model.settings.rootNamespace].map((one) => one.split('/')[0] ?? '')),
  ];
  const services = [...new Set([key, ...ways.map((way) => way.destination?.service)])].filter(
    (one) => one !== undefined,
  );
  const routes = config
    .routesOf(key, destination.port)
    .map((route) =>
      route.kind === 'tcp-route'
        ? tcpRouteReport(model, route, route === stream?.taken)
        : httpRouteReport(
            model,
            route,
            http && subject.request,
            destination.port,
            http?.taken?.route === route ? http.taken.rule : undefined,
          ),
    );
  const providers = new Map(attached.policies.map(({ name, provider }) => [name, provider]));
  return {
    ways,
    report: {
      gateway,
      protocol,
      protocolBecause,
      ...(protocol === 'http' ? { request: asked } : {}),
      authentications: tokens.authentications,
      ...(tokens.note === undefined ? {} : { tokenNote: tokens.note }),
      policies: explained.policies.map((policy) =>
        httpPolicyReport(model, policy, providers.get(policy.policy)),
      ),
      unaskedPolicies: unaskedHttp(model, attached.policies, namespaces),
      asks,
      applied: appliedObjects(model, config, attached, services, http && subject.request, destination.port),
      verdict: judged.allow ? 'allowed' : 'refused',
      ...(judged.allow ? {} : { code: judged.code ?? (protocol === 'http' ? 'HTTP_403' : 'POLICY_DENIED') }),
      reason:
        asks.length > 0 && judged.allow
          ? `${judged.reason}, and ${asks.join(' and ')} must agree`
          : judged.reason,
      ...(judged.by === undefined ? {} : { by: judged.by }),
      routes,
      faults: http?.faults ?? [],
      outcomes: ways.map(({ outcome }) => outcome),
    },
  };
}

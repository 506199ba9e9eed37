// Makes the configuration of targets when they are first asked for, and again after a change.
import type { Logger } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import { compileHttpPolicies } from '#/policy/index.ts';
import {
  compileAccessLogs,
  compileMetricPlan,
  effectiveTelemetry,
  type EffectiveTracing,
} from '#/telemetry/index.ts';
import type { Authenticator } from '../../authentication/index.ts';
import { AuthorizationFilter } from '../filters/authorization-filter.ts';
import { compileRequestTracing, type ProxyFacts, type RequestTracing } from '../../tracing/index.ts';
import { ids } from '../requests/prepare-request.ts';
import { TokenFilter } from '../filters/token-filter.ts';
import type { RequestFilter } from '../requests/request-filter.ts';
import type { Target } from '../resolve-target.ts';
import { serviceKey } from '#/model/index.ts';
import type { AttachedResources, Resources } from './resources.ts';
import type { TargetConfig } from './target-config.ts';

export interface TargetConfigOptions {
  readonly resources: Resources;
  readonly authenticator: Authenticator;
  /** `ns/name` of the waypoint's Gateway. */
  readonly gateway: string;
  readonly identity: Identity;
  readonly forwardClientIdentity: boolean;
  /** Who this waypoint is, for spans. */
  readonly proxy: Omit<ProxyFacts, 'meshId'>;
  readonly log: Logger;
  /** Filters that ask somebody else, or run code of users: by place in the chain. */
  readonly more: (attached: AttachedResources, policies: TargetConfig['policies']) => ChainParts;
}

/** Filters by their place among those that are always there. */
export interface ChainParts {
  readonly beforeAuthentication: readonly RequestFilter[];
  readonly beforeAuthorization: readonly RequestFilter[];
  readonly afterAuthorization: readonly RequestFilter[];
}

/** Targets that are kept; a client that asks for ever new ones only makes them be put together again. */
const maxTargets = 10_000;

export class TargetConfigs {
  readonly #options: TargetConfigOptions;
  readonly #configs = new Map<string, TargetConfig>();
  #version = -1;

  constructor(options: TargetConfigOptions) {
    this.#options = options;
  }

  of(target: Target): TargetConfig {
    const { resources } = this.#options;
    if (this.#version !== resources.attachmentVersion || this.#configs.size > maxTargets) {
      this.#version = resources.attachmentVersion;
      this.#configs.clear();
    }
    const key =
      target.service === undefined ? `w ${target.workload?.uid}` : `s ${serviceKey(target.service)}`;
    let config = this.#configs.get(key);
    if (config === undefined) this.#configs.set(key, (config = this.#make(target)));
    return config;
  }

  #make(target: Target): TargetConfig {
    const { resources, authenticator, gateway, identity, forwardClientIdentity, log, more } = this.#options;
    const { mesh } = resources;
    const service = target.service === undefined ? undefined : serviceKey(target.service);
    const attached = resources.attachedTo({ service, workload: target.workload?.uid, gateway });
    const policies = compileHttpPolicies(attached.policies, {
      trustDomains: [mesh.trustDomain, ...mesh.trustDomainAliases],
    });
    for (const { policy, rule, field, reason } of policies.problems)
      log.warn('a rule of a policy cannot be checked as it is written', {
        policy,
        rule,
        field,
        error: reason,
      });
    const parts = more(attached, policies);
    const filters: RequestFilter[] = [...parts.beforeAuthentication];
    if (attached.authentications.length > 0)
      filters.push(new TokenFilter(authenticator, authenticator.compile(attached.authentications)));
    filters.push(...parts.beforeAuthorization);
    const { deny, allow, audit, dryRun } = policies;
    if (deny.length + allow.length + audit.length + dryRun.length > 0)
      filters.push(new AuthorizationFilter(policies, log.scope('authorization')));
    filters.push(...parts.afterAuthorization);
    const telemetry = effectiveTelemetry(
      resources.telemetry(),
      {
        gateway,
        service,
        ...(target.workload === undefined
          ? {}
          : { workload: { uid: target.workload.uid, namespace: target.workload.namespace } }),
      },
      mesh,
      resources.providers.values(),
    );
    const accessLogs = compileAccessLogs(telemetry, resources.providers, mesh);
    for (const problem of accessLogs.problems) log.warn('access log', { error: problem });
    const smallest = (values: readonly (number | undefined)[]): number | undefined =>
      values.reduce(
        (least, one) => (one === undefined || (least !== undefined && least < one) ? least : one),
        undefined,
      );
    return {
      service,
      filters,
      policies,
      routing: {
        routes: resources.routes,
        settings: resources.settings,
        gateway,
        defaultRetry: resources.retry,
      },
      limits: {
        maxRequestBodyBytes: smallest(attached.trafficPolicies.map((one) => one.maxRequestBodyBytes)),
        maxResponseBodyBytes: smallest(attached.trafficPolicies.map((one) => one.maxResponseBodyBytes)),
      },
      telemetry,
      accessLogs,
      metricPlan: compileMetricPlan(telemetry),
      tracing: telemetry.tracing === undefined ? undefined : this.#tracing(telemetry.tracing),
      connectTimeoutMs: mesh.connectTimeoutMs,
      pathNormalization: mesh.pathNormalization ?? 'BASE',
      forwardClientIdentity,
      localIdentity: identity,
    };
  }

  #tracing(tracing: EffectiveTracing): RequestTracing | undefined {
    const { resources, proxy, log } = this.#options;
    const made = compileRequestTracing(tracing, resources.providers.get(tracing.provider), {
      ids,
      proxy: { ...proxy, meshId: resources.mesh.meshId },
    });
    if ('problem' in made) {
      log.warn('tracing', { error: made.problem });
      return undefined;
    }
    for (const problem of made.problems) log.warn('tracing', { error: problem });
    return made;
  }
}

// The translations of the kinds that waypoints alone are told of.
import type { FactsByKind, Kind } from '../kinds.ts';
import type { Lookup } from '../lookup.ts';
import type { Translation } from '../translation.ts';
import { translateDestinationRule } from './destination-rule.ts';
import { translateExtension } from './extension.ts';
import { translateHttpRoute, translateStreamRoute } from './http-route.ts';
import { translateRequestAuthentication } from './request-authentication.ts';
import { translateTelemetry } from './telemetry.ts';
import { translateTrafficPolicy } from './traffic-policy.ts';
import { translateVirtualService } from './virtual-service.ts';

type Translations = { readonly [K in Kind]?: (facts: FactsByKind[K], lookup: Lookup) => Translation };

export const waypointTranslations = {
  HTTPRoute: translateHttpRoute,
  GRPCRoute: translateHttpRoute,
  TCPRoute: translateStreamRoute,
  TLSRoute: translateStreamRoute,
  VirtualService: translateVirtualService,
  DestinationRule: translateDestinationRule,
  RequestAuthentication: translateRequestAuthentication,
  Telemetry: translateTelemetry,
  TrafficPolicy: translateTrafficPolicy,
  Extension: translateExtension,
} satisfies Translations;

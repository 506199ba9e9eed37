import type { InboundFacts, InboundPlan, MeshView, PlaintextFacts } from '#/model/index.ts';
import { defaultRouteSettings, type RouteSettings } from './settings.ts';

/** Decides where a CONNECT request goes. Policy is asked afterwards, with `plan.destination`. */
export function planInbound(
  _facts: InboundFacts,
  _view: MeshView,
  _settings: RouteSettings = defaultRouteSettings,
): InboundPlan {
  throw new Error('not written yet');
}

/** Decides where a captured plaintext connection goes. Policy is asked afterwards, without an identity. */
export function planPlaintext(
  _facts: PlaintextFacts,
  _view: MeshView,
  _settings: RouteSettings = defaultRouteSettings,
): InboundPlan {
  throw new Error('not written yet');
}

import type { MeshView, OutboundFacts, OutboundPlan } from '#/model/index.ts';
import { defaultRouteSettings, type RouteSettings } from './settings.ts';

/** Decides what becomes of a captured outbound connection. `random` gives numbers in [0, 1). */
export function planOutbound(
  _facts: OutboundFacts,
  _view: MeshView,
  _random: () => number,
  _settings: RouteSettings = defaultRouteSettings,
): OutboundPlan {
  throw new Error('not written yet');
}

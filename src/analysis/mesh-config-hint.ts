import type { MeshModel } from './mesh-model.ts';

/** From files, nothing may be known of the mesh's own settings. */
export const meshConfigHint = ({ live, settings }: MeshModel): string =>
  live || settings.meshConfig !== undefined
    ? ''
    : ` (nothing is known of MeshConfig: give the ConfigMap ${settings.rootNamespace}/istio, too)`;

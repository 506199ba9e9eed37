// control: the control plane. Owns the watch on the Kubernetes API, the servers for xDS and certificates, the CA's
// material, root ConfigMaps and status. May import floors 0–4. Must not know how objects are understood (translate),
// how xDS is spoken (xds), or where it runs (lab, cli).
export {
  parseControlPlaneConfig,
  parseDuration,
  type ControlPlaneConfig,
  type ControlPlaneFlags,
} from './config.ts';
export { meshConfigMap, parseMeshConfig, withMeshConfig } from './mesh-config.ts';
export { startControlPlane, type ControlPlane, type ControlPlaneDeps } from './control-plane.ts';

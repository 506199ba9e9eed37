// Waypoints as Kubernetes objects: the GatewayClass, and what each Gateway of it consists of.
export { GatewayController, type GatewayControllerOptions } from './gateway-controller.ts';

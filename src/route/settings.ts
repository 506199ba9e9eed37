// What routing depends on besides the connection and the mesh.

export interface RouteSettings {
  /** The port of HBONE on a workload that takes it. */
  readonly hbonePort: number;
  /** Ports of the proxy itself, that no connection may be sent to. */
  readonly illegalPorts: ReadonlySet<number>;
  /** Dial the application from the client's address. Off where that is not allowed, and for the proxy's own pod. */
  readonly preserveSource: boolean;
  /** A PROXY tunnel of an application is dialled on loopback, so that it cannot be reached past the proxy. */
  readonly loopbackTunnel: boolean;
  /** Give each plan the reasons for it, as `because`. */
  readonly trace: boolean;
}

export const defaultRouteSettings: RouteSettings = {
  hbonePort: 15008,
  illegalPorts: new Set([15001, 15006, 15008]),
  preserveSource: true,
  loopbackTunnel: true,
  trace: false,
};

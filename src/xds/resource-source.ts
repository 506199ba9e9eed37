// Where a server's resources come from. The server reads through this interface only, and never looks inside
// a resource.

export interface XdsResource {
  readonly name: string;
  /** Opaque; equal versions mean equal bytes. Empty: has none, and is sent again after every reconnect. */
  readonly version: string;
  /** The encoded message. */
  readonly resource: Uint8Array;
  /** Other names it can be asked for by, on demand. */
  readonly aliases?: readonly string[];
  /**
   * Names that bring it along on demand: a workload lists its services here, and is sent to whoever has asked for
   * one of them, by name or by alias.
   */
  readonly groups?: readonly string[];
}

export interface ResourceSource {
  /** By its own name. */
  get(name: string): XdsResource | undefined;
  all(): Iterable<XdsResource>;
  /** The resource of that name, else all that have it as an alias. Only on-demand clients lead to calls. */
  lookup(name: string): Iterable<XdsResource>;
  /** Those that list `group` among their groups. Only on-demand clients lead to calls. */
  members(group: string): Iterable<XdsResource>;
  /**
   * A client may have a resource only while a name that it asked for brings it: one that leaves its groups is taken
   * back. Absent: what a client holds is kept up to date for it.
   */
  readonly takesBack?: boolean;
  /** Calls back with the names that were added, changed or removed, after each change. Dispose to stop. */
  onChange(callback: (changed: ReadonlySet<string>) => void): Disposable;
}

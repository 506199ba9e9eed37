// The floors of the house, as data. The linter's configuration is made from this table, so a room that
// imports upwards, sideways where that is banned, or does I/O where it must not, fails `npm run check`.

/** Node modules that touch the outside world, and the rooms that own them. A room not listed may not import it. */
export const ioOwners: Readonly<Record<string, { rooms: readonly string[]; why: string }>> = {
  koffi: { rooms: ['sys'], why: 'system calls go through one door that has a fake twin' },
  'node:net': {
    rooms: ['sys', 'tunnel', 'program', 'ztunnel', 'cni', 'lab', 'waypoint'],
    why: 'sockets are made by sys, in a given netns, with a given mark',
  },
  'node:dgram': { rooms: ['sys', 'lab', 'ztunnel'], why: 'datagram sockets are made by sys' },
  'node:fs': {
    rooms: ['sys', 'apiserver', 'control', 'cni', 'lab', 'cli', 'ztunnel', 'identity', 'kube', 'waypoint'],
    why: 'files are read at the edge',
  },
  'node:fs/promises': {
    rooms: ['sys', 'apiserver', 'control', 'cni', 'lab', 'cli', 'ztunnel', 'identity', 'kube', 'waypoint'],
    why: 'files are read at the edge',
  },
  'node:child_process': {
    rooms: ['sys', 'lab'],
    why: 'commands are run by sys, so that they can be faked and bounded',
  },
  'node:tls': {
    rooms: ['identity', 'tunnel', 'program', 'ztunnel', 'waypoint', 'apiserver'],
    why: 'TLS contexts are made where identities are',
  },
  'node:crypto': {
    rooms: ['identity', 'apiserver', 'lab', 'control', 'waypoint'],
    why: 'keys are made where identities are',
  },
  'node:http2': { rooms: ['xds', 'waypoint', 'lab'], why: 'the tunnel has its own framing' },
  'node:http': {
    rooms: ['apiserver', 'control', 'cni', 'program', 'waypoint', 'lab', 'cli'],
    why: 'HTTP servers belong to programs',
  },
  'node:https': {
    rooms: ['apiserver', 'control', 'cni', 'waypoint', 'kube', 'cli'],
    why: 'HTTP servers belong to programs',
  },
  'node:sqlite': { rooms: ['apiserver'], why: 'only the embedded API stores objects' },
  'node:worker_threads': {
    rooms: ['sys', 'ztunnel', 'waypoint', 'apiserver', 'control'],
    why: 'a program decides what runs apart',
  },
};

/** Rooms by floor: a room may import rooms of lower floors, and of its own floor unless `apart`. */
export const floors: readonly { rooms: readonly string[]; apart?: boolean }[] = [
  { rooms: ['kit', 'errors', 'model'] },
  { rooms: ['wire'] },
  { rooms: ['policy', 'route', 'translate', 'capture'], apart: true },
  // analysis explains what the rooms below decide, with their own functions: it stands on all of them.
  { rooms: ['state', 'telemetry', 'analysis'] },
  { rooms: ['sys', 'identity', 'tunnel', 'http', 'program', 'xds', 'kube'] },
  { rooms: ['apiserver', 'ztunnel', 'waypoint', 'cni', 'control'], apart: true },
  { rooms: ['lab'] },
  { rooms: ['cli', 'dashboard'] },
];

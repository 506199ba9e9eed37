// sys: the only door to the Linux kernel, by FFI, and its fake twin. Owns network namespaces, sockets made in
// them, SEQPACKET sockets with passed fds, commands run in a namespace, limits and usage of processes.
// May import kit, errors, model, koffi, node:net, node:dgram, node:fs and node:child_process.
// Must not know the mesh: no pods, no ports with a meaning, no policies, no protocols above TCP and UDP.
export {
  CommandError,
  checkCommand,
  outputLimit,
  runCommand,
  spawnInNetns,
  systemPath,
  type CommandOptions,
  type CommandResult,
  type RunCommand,
} from './command.ts';
export { fakeCommands, type FakeCommands } from './fake-command.ts';
export { FakeKernel } from './fake-kernel.ts';
export type { FakeRedirection } from './fake-network.ts';
export type * from './kernel.ts';
export { linuxKernel } from './linux-kernel.ts';
export { createNetns, deleteNetns } from './netns-mount.ts';
export { interfaceNames, netnsOfProcess, sameNetns } from './netns.ts';
export { processUsage, type ProcessUsage } from './process-usage.ts';
export {
  SeqpacketConnection,
  type Datagram,
  type PeerCredentials,
  type SeqpacketConnectOptions,
  type SeqpacketOptions,
} from './seqpacket-connection.ts';
export { SeqpacketServer, type SeqpacketServerOptions } from './seqpacket-server.ts';
export { holdForEnd } from './hold-for-end.ts';
export { resetSocket } from './reset-socket.ts';
export { socketFd } from './socket-fd.ts';
export { SystemError } from './system-error.ts';
export { readTransient } from './transient-reads.ts';

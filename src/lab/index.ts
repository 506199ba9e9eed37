// lab: a cluster on one Linux machine. Owns the network namespaces of nodes and pods, a kubelet per node, the
// controllers and the service forwarding of a cluster, its DNS, the sample applications, and the making and taking
// down of all that below AURA_HOME. May import every lower room. Must not know what the mesh's programs do: it
// starts them as pods, as a cluster would, and any of them can be another program.
export { startDnsProgram, type DnsProgram, type DnsProgramOptions } from './dns/dns-program.ts';
export {
  startBookinfo,
  type BookinfoOptions,
  type BookService,
  bookServices,
} from './sample-app/bookinfo.ts';
export { startEcho, type EchoApp, type EchoOptions } from './sample-app/echo.ts';
export type { EchoReport } from './sample-app/http-echo.ts';
export { startHttpbin, type HttpbinOptions } from './sample-app/httpbin.ts';
export {
  type LabConfig,
  type LabRequest,
  type MeshOptions,
  parseFamilies,
  parseNodes,
} from './lab-config.ts';
export { defaultHome, labPaths, nodePaths, type LabPaths, type NodePaths } from './paths.ts';
export { addressPlan, type AddressPlan, type NodePlan } from './address-plan.ts';
export { hopeless, labUp, startSupervisor, type UpOptions } from './up.ts';
export { labDown, leftovers, type DownOptions } from './down.ts';
export { readLabConfig } from './lab-state.ts';
export { askStatus, type LabStatus } from './lab-status.ts';
export { describeLab } from './describe.ts';
export { Supervisor, type SupervisorOptions } from './supervisor.ts';
export { findContainer, findPods, firstRunning, logFiles, runFolders } from './find-pod.ts';
export { execArgv } from './runtime/exec.ts';
export { followLog, tailOf } from './runtime/log-reader.ts';
export { applyManifests, ManifestError, readManifests, type SourcedManifest } from './apply-manifests.ts';
export { waitForWorkloads } from './wait-workloads.ts';
export { inNetns, run as runTool, toolPath, type CommandResult } from './command.ts';
export { attach } from './attach.ts';
export { execInPod, podNetns, type PodTarget } from './exec-in-pod.ts';
export { PacketCapture } from './tour/packet-capture.ts';
export { playTour, type TourOptions } from './tour/play-tour.ts';
export { expectThat, logFields, TourError, TourLab } from './tour/tour-lab.ts';
export { tourSteps, type Narrator, type TourContext } from './tour/tour-steps.ts';
export { cgroupRoot, killCgroup } from './cgroups.ts';

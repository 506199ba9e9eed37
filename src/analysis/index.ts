// analysis: what a connection would get and why, what a pod or service is to the mesh, and what is wrong with a set
// of objects. Pure: objects in, reports and their text out. Stands on translate, state, route and policy, and calls
// the same functions as the proxies. Must not know files, the Kubernetes client, or how a report is asked for.
export { describePod, describeService, type Description } from './describe.ts';
export { descriptionText } from './describe-text.ts';
export {
  keyOf,
  objectDocument,
  placeOf,
  readDocuments,
  showPlace,
  type Place,
  type SourceDocument,
  type UnreadablePart,
} from './document.ts';
export { analysisText, analyze, type AnalysisInput } from './analyze.ts';
export type { Finding } from './finding.ts';
export { findingRegistry, type FindingCode, type FindingEntry, type Level } from './finding-registry.ts';
export { explainConnection } from './explain.ts';
export { explainNamed, type NamedRequest } from './explain-named.ts';
export type { Difference, ProxyState } from './explain-differences.ts';
export type { ConnectionExplanation, ExplainRequest, HopReport, PathReport } from './explain-report.ts';
export { explanationText } from './explain-text.ts';
export type { RequestOutcome, RequestReport } from './request-report.ts';
export type { RequestWish } from './request-wish.ts';
export { MeshModel, type MeshInput } from './mesh-model.ts';
export type { Eligibility, Enrolment } from './names.ts';
export { parseTarget, resolveTarget, splitPort, TargetError, type Party } from './target.ts';

// policy/http: L7 authorization. Owns what an AuthorizationPolicy means for a request, and for a connection without
// HTTP, at a waypoint. Part of policy, exported through its door.
export {
  compileHttpPolicies,
  compileHttpPolicy,
  httpPolicySet,
  type CompiledHttpPolicies,
  type CompiledHttpPolicy,
  type HttpCompileOptions,
  type MatchedRule,
  type PolicyProblem,
} from './compile-http.ts';
export {
  customChecks,
  customChecksTcp,
  decideHttp,
  decideTcp,
  httpDenial,
  type CustomCheck,
  type HttpNote,
  type HttpVerdict,
} from './decide-http.ts';
export {
  explainHttp,
  explainTcp,
  type ExplainedHttpField,
  type ExplainedHttpPolicy,
  type ExplainedHttpRule,
  type HttpExplanation,
} from './explain-http.ts';
export { compilePathTemplate, type PathTest } from './path-template.ts';

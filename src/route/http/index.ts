// The choices at L7, pure: which rule and destination a request gets, what is changed on the way, whether a try is
// repeated, which endpoint takes it. Part of route, exported through its door.
export * from './balance/index.ts';
export * from './choose-destination.ts';
export * from './circuit.ts';
export { answerPreflight, corsResponseHeaders, isPreflight } from './cors.ts';
export * from './destination-settings.ts';
export * from './mirrors.ts';
export { cookieValue, hostOf, parseQuery } from './match-input.ts';
export * from './outliers.ts';
export * from './plan-request.ts';
export { compileRequestMatcher, type RequestMatcher } from './request-matcher.ts';
export { compileRegex, type TextTest } from './regex.ts';
export * from './retry.ts';
export { authorityChange, changeHeaders, type ChangeableHeaders } from './rewrites.ts';
export { HttpRouteTables, type RequestTarget, type RouteMatch } from './route-table.ts';
export * from './tcp-route-table.ts';
export * from './timeouts.ts';

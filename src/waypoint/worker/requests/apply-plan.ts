// What a plan changes in the heads of a request and of its response, and what it answers itself.
import type { RequestHead, ResponseHead } from '#/http/index.ts';
import { authorityChange, changeHeaders, type ForwardPlan, type RequestPlan } from '#/route/index.ts';
import type { Attempt } from './attempt.ts';
import type { Reply } from './request-filter.ts';

/** Returns the path with its query as the client sent it, if the plan replaces it. */
export function applyPlan(head: RequestHead, plan: ForwardPlan): string | undefined {
  changeHeaders(head.headers, plan.requestHeaders);
  const authority = authorityChange(plan.requestHeaders) ?? plan.authority;
  if (authority !== head.authority) {
    head.headers.set('x-envoy-original-host', head.authority);
    head.authority = authority;
  }
  if (plan.path === head.path) return undefined;
  const original = head.query === undefined ? head.path : `${head.path}?${head.query}`;
  head.headers.set('x-envoy-original-path', original);
  const mark = plan.path.indexOf('?');
  head.path = mark < 0 ? plan.path : plan.path.slice(0, mark);
  if (mark >= 0) head.query = plan.path.slice(mark + 1);
  return original;
}

export function applyAnswer(head: ResponseHead, { plan, endpoint }: Attempt, upstreamMs: number): void {
  changeHeaders(head.headers, plan.responseHeaders);
  head.headers.set('x-envoy-upstream-service-time', String(upstreamMs));
  const cookie = endpoint?.setCookie;
  if (cookie !== undefined) head.headers.add('set-cookie', cookie);
}

/** An answer in place of the destination's: a timeout, no connection. A browser is to see its status, too. */
export function applyOwnAnswer({ headers }: ResponseHead, plan: RequestPlan): void {
  if (plan.kind === 'forward' && plan.errorHeaders !== undefined) changeHeaders(headers, [plan.errorHeaders]);
}

/** Header changes of the plan are applied to it as to any response. */
export function planReply(plan: Exclude<RequestPlan, ForwardPlan>): Reply {
  if (plan.kind === 'redirect')
    return {
      status: plan.status,
      headers: [{ name: 'location', value: plan.location }],
      details: 'direct_response',
    };
  return {
    status: plan.status,
    body: plan.body,
    headers: plan.headers,
    details: plan.reason,
    ...(plan.flag === '-' ? {} : { flag: plan.flag }),
    ...(plan.grpcStatus === undefined ? {} : { grpcStatus: plan.grpcStatus }),
  };
}

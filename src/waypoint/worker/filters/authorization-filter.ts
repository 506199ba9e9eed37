// AuthorizationPolicy: DENY, ALLOW, AUDIT and what is in dry run. CUSTOM is asked before, in a filter of its own.
import type { Logger } from '#/kit/index.ts';
import { decideHttp, httpDenial, type CompiledHttpPolicies } from '#/policy/index.ts';
import type { FilteredRequest, FilterOutcome, RequestFilter } from '../requests/request-filter.ts';

export class AuthorizationFilter implements RequestFilter {
  readonly name = 'authorization';
  readonly #policies: CompiledHttpPolicies;
  readonly #log: Logger;

  constructor(policies: CompiledHttpPolicies, log: Logger) {
    this.#policies = policies;
    this.#log = log;
  }

  apply(request: FilteredRequest): FilterOutcome {
    const verdict = decideHttp(this.#policies, request.subject);
    const requestId = request.head.headers.get('x-request-id');
    for (const { id } of verdict.audit)
      this.#log.info('audit: a policy matches', { policy: id, request_id: requestId });
    for (const { message, by } of verdict.dryRun)
      this.#log.info(message, { policy: by?.id ?? 'none', request_id: requestId });
    if (verdict.allow) return 'next';
    request.reply({ status: httpDenial.status, body: httpDenial.body, details: verdict.details });
    return 'wait';
  }
}

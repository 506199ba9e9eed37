// AuthorizationPolicy CUSTOM: providers outside are asked, one after the other; each must allow.
import type { Logger } from '#/kit/index.ts';
import type { Provider } from '#/model/index.ts';
import { customChecks, httpDenial, type CompiledHttpPolicies, type CustomCheck } from '#/policy/index.ts';
import {
  applyHeaderEdits,
  type AuthzProvider,
  type BodyPrefix,
  type ExternalAuthorizer,
} from '../../external/index.ts';
import type { FilteredRequest, FilterOutcome, RequestFilter } from '../requests/request-filter.ts';

export class CustomAuthorizationFilter implements RequestFilter {
  readonly name = 'external-authorization';
  readonly #policies: CompiledHttpPolicies;
  readonly #providers: ReadonlyMap<string, Provider>;
  readonly #authorizer: ExternalAuthorizer;
  readonly #log: Logger;

  constructor(
    policies: CompiledHttpPolicies,
    providers: ReadonlyMap<string, Provider>,
    authorizer: ExternalAuthorizer,
    log: Logger,
  ) {
    this.#policies = policies;
    this.#providers = providers;
    this.#authorizer = authorizer;
    this.#log = log;
  }

  apply(request: FilteredRequest): FilterOutcome {
    const checks = customChecks(this.#policies, request.subject);
    if (checks.length === 0) return 'next';
    this.#ask(request, checks, 0);
    return 'wait';
  }

  #ask(request: FilteredRequest, checks: readonly CustomCheck[], index: number): void {
    const check = checks[index];
    if (check === undefined) {
      request.proceed();
      return;
    }
    const provider = this.#provider(check);
    if (provider === undefined) {
      this.#log.warn('a request is refused: its policy names a provider that is not known', {
        policy: check.id,
        provider: check.provider,
      });
      request.reply({
        status: httpDenial.status,
        body: httpDenial.body,
        details: `rbac_access_denied_matched_policy[${check.id}]`,
        flag: 'UAEX',
      });
      return;
    }
    const { includeBody } = provider;
    if (includeBody === undefined) this.#check(request, checks, index, provider, undefined);
    else
      request.collectBody(includeBody.maxBytes, (bytes, complete) =>
        this.#check(request, checks, index, provider, { bytes, complete }),
      );
  }

  #provider({ provider }: CustomCheck): AuthzProvider | undefined {
    const found = this.#providers.get(provider);
    return found?.type === 'ext-authz-grpc' || found?.type === 'ext-authz-http' ? found : undefined;
  }

  #check(
    request: FilteredRequest,
    checks: readonly CustomCheck[],
    index: number,
    provider: AuthzProvider,
    body: BodyPrefix | undefined,
  ): void {
    const { head, subject } = request;
    const gone = new AbortController();
    request.onOver(() => gone.abort());
    const id = head.headers.get('x-request-id');
    void this.#authorizer
      .check(
        provider,
        {
          facts: subject.request,
          headers: head.headers,
          ...(id === undefined ? {} : { id }),
          ...(head.contentLength === undefined ? {} : { contentLength: head.contentLength }),
        },
        subject.connection,
        body,
        gone.signal,
      )
      .then((answer) => {
        if (request.over) return;
        if (answer.error !== undefined)
          this.#log.warn(answer.allow ? 'a request passes without an answer' : 'a request is refused', {
            provider: provider.name,
            error: answer.error,
          });
        if (!answer.allow) {
          request.reply({
            status: answer.status,
            body: answer.body.toString('utf8'),
            headers: answer.headers,
            details: answer.details,
            flag: 'UAEX',
          });
          return;
        }
        applyHeaderEdits(head.headers, answer.requestHeaders, answer.removeRequestHeaders);
        if (answer.responseHeaders.length > 0)
          request.onResponse((response) => applyHeaderEdits(response.headers, answer.responseHeaders));
        this.#ask(request, checks, index + 1);
      });
  }
}

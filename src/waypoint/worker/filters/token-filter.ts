// RequestAuthentication: a token that is there must be good, and what is in it goes to the application and the policies.
import type { AuthResult, Authenticator, CompiledAuthentication } from '../../authentication/index.ts';
import { withoutCookies, withoutParams } from '../../authentication/index.ts';
import type { FilteredRequest, FilterOutcome, RequestFilter } from '../requests/request-filter.ts';

export class TokenFilter implements RequestFilter {
  readonly name = 'request-authentication';
  readonly #authenticator: Authenticator;
  readonly #compiled: CompiledAuthentication;

  constructor(authenticator: Authenticator, compiled: CompiledAuthentication) {
    this.#authenticator = authenticator;
    this.#compiled = compiled;
  }

  apply(request: FilteredRequest): FilterOutcome {
    const result = this.#authenticator.authenticate(this.#compiled, request.subject.request);
    if (!(result instanceof Promise)) return settle(request, result);
    void result.then((late) => {
      if (!request.over && settle(request, late) === 'next') request.proceed();
    });
    return 'wait';
  }
}

function settle(request: FilteredRequest, result: AuthResult): FilterOutcome {
  if (!result.accepted) {
    request.reply({
      status: result.status,
      body: result.body,
      headers: result.headers,
      details: result.details,
    });
    return 'wait';
  }
  const { head } = request;
  for (const name of result.removeHeaders) head.headers.delete(name);
  if (result.removeParams.length > 0 && head.query !== undefined)
    head.query = withoutParams(head.query, result.removeParams);
  const cookies = result.removeCookies.length > 0 ? head.headers.get('cookie') : undefined;
  if (cookies !== undefined) {
    const left = withoutCookies(cookies, result.removeCookies);
    if (left === undefined || left === '') head.headers.delete('cookie');
    else head.headers.set('cookie', left);
  }
  for (const { name, value } of result.setHeaders) head.headers.set(name.toLowerCase(), value);
  if (result.token !== undefined) request.setToken(result.token);
  return 'next';
}

// What an answer of an external processor means for the message that it is about.
import { headerOption, type HeaderOption, type processMethod } from '#/wire/index.ts';
import { CallFailure } from './call-failure.ts';
import { checkedEdits, checkedNames, type HeaderEdit } from './header-edits.ts';

export type ProcessingResponse = ReturnType<typeof processMethod.response.decode>;

export type PartKind = 'requestHeaders' | 'requestBody' | 'responseHeaders' | 'responseBody';

export type ProcessingOutcome =
  | {
      readonly kind: 'continue';
      readonly headers: readonly HeaderEdit[];
      readonly removeHeaders: readonly string[];
      /** A new path with its query, not checked; of a request's headers only. */
      readonly path?: string;
      /** A new status; of a response's headers only. */
      readonly status?: number;
      /** Instead of the body, or chunk, that was sent. With headers: instead of the body that would follow. */
      readonly body?: Buffer;
      /** With headers: nothing more of this direction is to be sent. */
      readonly done: boolean;
      readonly clearRouteCache: boolean;
    }
  /** The service's own answer to the client, now. */
  | {
      readonly kind: 'respond';
      readonly status: number;
      readonly headers: readonly HeaderEdit[];
      readonly removeHeaders: readonly string[];
      readonly body: Buffer;
      readonly grpcStatus?: number;
      readonly details: string;
    }
  /** No answer, and the configuration does not let requests pass then. 504 after a timeout, else 500. */
  | { readonly kind: 'failed'; readonly status: 500 | 504; readonly error: string };

export const unchanged: ProcessingOutcome = {
  kind: 'continue',
  headers: [],
  removeHeaders: [],
  done: false,
  clearRouteCache: false,
};

type Answer = ProcessingResponse['response'];
type Common = NonNullable<Extract<Answer, { case: 'requestHeaders' }>['value']['response']>;
type HeaderMutation = NonNullable<Common['headerMutation']>;

const emptyBody = Buffer.alloc(0);
const continueAndReplace: Common['status'] = 1;

/** Throws CallFailure if the answer cannot be used. */
export function outcomeOf(kind: PartKind, { response }: ProcessingResponse): ProcessingOutcome {
  switch (response.case) {
    case 'immediateResponse': {
      const { status, headers, body, grpcStatus, details } = response.value;
      const code = status?.code ?? 0;
      return {
        kind: 'respond',
        status: code >= 200 && code <= 599 ? code : 200,
        headers: checkedEdits(optionsOf(headers)),
        removeHeaders: checkedNames(headers?.removeHeaders ?? []),
        body: Buffer.from(body),
        ...(grpcStatus !== undefined && { grpcStatus: grpcStatus.status }),
        details: details === '' ? 'ext_proc_immediate_response' : details,
      };
    }
    case 'requestHeaders':
    case 'responseHeaders':
    case 'requestBody':
    case 'responseBody':
      return continueWith(kind, response.value.response);
    default:
      throw new CallFailure('protocol', `an answer of an unknown kind: ${response.case ?? 'empty'}`);
  }
}

/** `x-envoy-` headers are not theirs to say, as upstream. */
const optionsOf = (mutation: HeaderMutation | undefined): readonly HeaderOption[] =>
  (mutation?.setHeaders.map(headerOption) ?? []).filter(({ name }) => !name.startsWith('x-envoy-'));

function continueWith(kind: PartKind, common: Common | undefined): ProcessingOutcome {
  const mutation = common?.headerMutation;
  const options = optionsOf(mutation);
  const isHeaders = kind === 'requestHeaders' || kind === 'responseHeaders';
  const done = isHeaders && common?.status === continueAndReplace;
  const body = isHeaders && !done ? undefined : bodyOf(common);
  const path = kind === 'requestHeaders' ? options.find(({ name }) => name === ':path')?.value : undefined;
  const status = kind === 'responseHeaders' ? statusOf(options) : undefined;
  return {
    kind: 'continue',
    headers: checkedEdits(options),
    removeHeaders: checkedNames(mutation?.removeHeaders ?? []),
    ...(path !== undefined && { path }),
    ...(status !== undefined && { status }),
    ...(body !== undefined && { body }),
    done,
    clearRouteCache: kind === 'requestHeaders' && common?.clearRouteCache === true,
  };
}

function bodyOf(common: Common | undefined): Buffer | undefined {
  const mutation = common?.bodyMutation?.mutation;
  if (mutation?.case === 'body') return Buffer.from(mutation.value);
  return mutation?.case === 'clearBody' && mutation.value ? emptyBody : undefined;
}

function statusOf(options: readonly HeaderOption[]): number | undefined {
  const text = options.find(({ name }) => name === ':status')?.value;
  if (text === undefined) return undefined;
  if (!/^[2-5][0-9][0-9]$/.test(text))
    throw new CallFailure('protocol', `a status of ${JSON.stringify(text)}`);
  return Number(text);
}

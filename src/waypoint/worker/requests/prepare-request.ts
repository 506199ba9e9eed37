// What every request gets before anybody looks at it: an id, the scheme, a place in a trace; and what no client may say
// is taken away.
import type { RequestHead } from '#/http/index.ts';
import type { ConnectionFacts } from '#/model/index.ts';
import { changeHeaders } from '#/route/index.ts';
import { forwardedProto, idSource, keepRequestId, type OutgoingTrace } from '#/telemetry/index.ts';
import type { TargetConfig } from '../config/target-config.ts';

/** Of requests and spans. */
export const ids = idSource();

export function prepareRequest(
  head: RequestHead,
  facts: ConnectionFacts,
  config: TargetConfig,
): OutgoingTrace | undefined {
  const { headers } = head;
  // x-envoy-* is what a proxy says of a request: whoever could set it would speak in the proxy's name.
  const { flat } = headers;
  let forged = false;
  for (let i = 0; i < flat.length; i += 2)
    if (flat[i]?.startsWith('x-envoy-') === true) {
      forged = true;
      break;
    }
  if (forged)
    for (const name of flat.filter((text, i) => i % 2 === 0 && text.startsWith('x-envoy-')))
      headers.delete(name);
  if (keepRequestId(headers.get('x-request-id')) === undefined) headers.set('x-request-id', ids.requestId());
  const proto = headers.get('x-forwarded-proto');
  const scheme = forwardedProto(proto, head.scheme);
  if (proto !== scheme) headers.set('x-forwarded-proto', scheme);
  clientCertificate(head, facts, config);
  if (config.tracing === undefined) return undefined;
  const begun = config.tracing.begin(headers, headers.get('x-request-id'));
  if (begun.headers !== undefined) changeHeaders(headers, [begun.headers]);
  return begun.trace;
}

/** Who the client is, for applications that ask for it. What a client says of itself never passes. */
function clientCertificate(
  { headers }: RequestHead,
  { identity }: ConnectionFacts,
  config: TargetConfig,
): void {
  if (headers.has('x-forwarded-client-cert')) headers.delete('x-forwarded-client-cert');
  if (!config.forwardClientIdentity || identity === undefined) return;
  headers.set('x-forwarded-client-cert', `By=${config.localIdentity};URI=${identity}`);
}

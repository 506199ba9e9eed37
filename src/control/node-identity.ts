// May a caller speak for the node that it says it is? Its namespace, and its service account where it names one, must
// be those of the token.
import { RpcError } from '#/identity/index.ts';
import type { Node } from '#/wire/index.ts';
import type { Caller } from './caller.ts';

const texts = (value: unknown): string => (typeof value === 'string' ? value : '');

/** `type~ip~pod.ns~ns.svc.domain`; undefined if the id has another shape. */
export function parseNodeId(
  id: string,
):
  | { readonly type: string; readonly ip: string; readonly pod: string; readonly namespace: string }
  | undefined {
  const parts = id.split('~');
  if (parts.length !== 4) return undefined;
  const [type, ip, name] = parts as [string, string, string, string];
  const dot = name.lastIndexOf('.');
  return {
    type,
    ip,
    pod: dot < 0 ? name : name.slice(0, dot),
    namespace: dot < 0 ? '' : name.slice(dot + 1),
  };
}

/** Throws RpcError PERMISSION_DENIED with the reason, which the operator of the proxy should see. */
export function checkNodeIdentity(caller: Caller, node: Node): void {
  const metadata: Readonly<Record<string, unknown>> = node.metadata ?? {};
  const namespace = texts(metadata['NAMESPACE']) || (parseNodeId(node.id)?.namespace ?? '');
  const account = texts(metadata['SERVICE_ACCOUNT']);
  if (namespace !== '' && namespace !== caller.namespace)
    throw new RpcError(
      'PERMISSION_DENIED',
      `the node says that it is in namespace "${namespace}", its credentials are of "${caller.namespace}"`,
    );
  if (account !== '' && account !== caller.serviceAccount)
    throw new RpcError(
      'PERMISSION_DENIED',
      `the node says that it runs as "${account}", its credentials are of "${caller.serviceAccount}"`,
    );
}

/** The Kubernetes node of a proxy, from its metadata. */
export function nodeNameOf(node: Node): string {
  return texts((node.metadata as Readonly<Record<string, unknown>> | undefined)?.['NODE_NAME']);
}

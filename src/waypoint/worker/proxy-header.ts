// The PROXY header toward an endpoint that asks for one: the client, and what it asked for.
import { isV6 } from '#/kit/index.ts';
import type { ConnectionFacts, TrafficSettings } from '#/model/index.ts';
import { encodeProxyHeader } from '#/wire/index.ts';

/** Undefined: none is asked for. Version 1 has no place for two families: it then says UNKNOWN. */
export function proxyHeader(
  version: TrafficSettings['proxyProtocol'],
  { source, destination }: Pick<ConnectionFacts, 'source' | 'destination'>,
): Buffer | undefined {
  if (version === undefined) return undefined;
  if (version === 'V2') return Buffer.from(encodeProxyHeader(source, destination));
  if (isV6(source.ip) !== isV6(destination.ip)) return Buffer.from('PROXY UNKNOWN\r\n');
  const family = isV6(source.ip) ? 'TCP6' : 'TCP4';
  return Buffer.from(`PROXY ${family} ${source.ip} ${destination.ip} ${source.port} ${destination.port}\r\n`);
}

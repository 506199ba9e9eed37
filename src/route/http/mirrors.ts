// Which mirrors get a copy of a request. Each is drawn on its own.
import type { Destination, Mirror } from '#/model/index.ts';

const none: readonly Destination[] = [];

export function drawMirrors(mirrors: readonly Mirror[], random: () => number): readonly Destination[] {
  if (mirrors.length === 0) return none;
  const drawn: Destination[] = [];
  for (const { destination, fraction } of mirrors)
    if (fraction >= 1 || (fraction > 0 && random() < fraction)) drawn.push(destination);
  return drawn;
}

/** The host of a copy: Envoy marks it, so that the receiver can tell. */
export function mirrorAuthority(authority: string): string {
  const colon = authority.lastIndexOf(':');
  return colon < 0 || authority.endsWith(']')
    ? `${authority}-shadow`
    : `${authority.slice(0, colon)}-shadow${authority.slice(colon)}`;
}

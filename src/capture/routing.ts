// Policy routing in the pod: packets with the tunnel mark are delivered locally, whatever their destination, which
// is how the application's replies to a client's address reach ztunnel's transparent socket.
import type { Family } from './rules.ts';
import { tunnelMark } from './settings.ts';

export const routingTable = 100;
export const routingPriority = 32764;

const selector = `fwmark 0x${tunnelMark.value.toString(16)}/0x${tunnelMark.mask.toString(16)} pref ${routingPriority} lookup ${routingTable}`;
const route = (family: Family) => `local ${family === 4 ? '0.0.0.0/0' : '::/0'} dev lo table ${routingTable}`;

export interface RoutingCommands {
  /** Arguments of `ip` for one family; each is run on its own. */
  readonly argv: readonly string[];
  /** Answers of the kernel that mean that the work was done before. */
  readonly done: RegExp;
}

const command = (family: Family, text: string, done: RegExp): RoutingCommands => ({
  argv: ['ip', `-${family}`, ...text.split(' ')],
  done,
});

const exists = /File exists/;
const absent = /No such (file|process|device)|does not exist/;

/**
 * The rule and the one route of table 100. With `localRoute` false only the rule: an IPv6 route on lo cannot be
 * made where net.ipv6.conf.lo.disable_ipv6 is 1.
 */
export function addRouting(family: Family, localRoute = true): readonly RoutingCommands[] {
  return [
    command(family, `rule add ${selector}`, exists),
    ...(localRoute ? [command(family, `route replace ${route(family)}`, exists)] : []),
  ];
}

export function removeRouting(family: Family): readonly RoutingCommands[] {
  return [
    command(family, `rule del ${selector}`, absent),
    command(family, `route del ${route(family)}`, absent),
  ];
}

// Why a message is refused, and what its sender is told of it.
import { statusLine } from './status-lines.ts';

/** `status` is what a request is answered. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

export const refuse = (reason: string, status = 400): Refusal => ({ status, reason });

/** The reason is for our log, not for the sender. */
export const refusalResponse = (status: number): string =>
  `${statusLine(status)}content-length: 0\r\nconnection: close\r\n\r\n`;

/** The first line of what was read, as it may stand in a log. */
export const printableLine = (text: string): string =>
  (text.split(/\r?\n/, 1)[0] as string).slice(0, 200).replaceAll(/[^\x20-\x7e]/g, '?');

// SETTINGS, both ways (RFC 9113, 6.5.2): what we say when a connection begins, and what a peer may say.
import { h2Error, maxWindow, preface, setting, type FrameWriter, type H2ErrorCode } from './frames.ts';
import type { SessionSettings } from './session-interface.ts';

/** The window that each side starts with, whatever the settings say (RFC 9113, 6.9.2). */
export const firstWindow = 65535;

/** Lays what a connection starts with. A connection's window can only be made larger, by WINDOW_UPDATE. */
export function greet(output: FrameWriter, role: 'client' | 'server', settings: SessionSettings): void {
  if (role === 'client') output.raw(preface);
  const extra = settings.enableConnectProtocol === true ? [[setting.enableConnectProtocol, 1] as const] : [];
  output.settings([
    [setting.initialWindowSize, settings.streamWindow],
    [setting.maxFrameSize, settings.maxFrameSize],
    [setting.maxHeaderListSize, settings.maxHeaderListSize],
    role === 'client'
      ? [setting.enablePush, 0]
      : [setting.maxConcurrentStreams, settings.maxConcurrentStreams],
    ...extra,
  ]);
  if (settings.connectionWindow > firstWindow)
    output.windowUpdate(0, settings.connectionWindow - firstWindow);
}

export interface PeerSettings {
  /** Each value in the order in which it came: a small one in between empties the table. */
  readonly tableLimits: readonly number[];
  readonly maxConcurrentStreams: number | undefined;
  readonly initialWindow: number | undefined;
  readonly maxFrame: number | undefined;
  readonly connectProtocol: boolean | undefined;
  /** Why the connection must end. */
  readonly error: { readonly code: H2ErrorCode; readonly message: string } | undefined;
}

/** @param role ours. Settings that are not known are ignored; of those that come twice the last one counts. */
export function readSettings(payload: Buffer, role: 'client' | 'server'): PeerSettings {
  const tableLimits: number[] = [];
  let maxConcurrentStreams: number | undefined;
  let initialWindow: number | undefined;
  let maxFrame: number | undefined;
  let connectProtocol: boolean | undefined;
  let error: PeerSettings['error'];
  for (let at = 0; at < payload.length; at += 6) {
    const value = payload.readUInt32BE(at + 2);
    switch (payload.readUInt16BE(at)) {
      case setting.headerTableSize:
        tableLimits.push(value);
        break;
      case setting.enablePush:
        // To a server nobody pushes, to a client only by its leave, which we do not give.
        if (value > (role === 'client' ? 0 : 1))
          error ??= { code: h2Error.protocolError, message: `SETTINGS_ENABLE_PUSH ${value}` };
        break;
      case setting.maxConcurrentStreams:
        maxConcurrentStreams = value;
        break;
      case setting.initialWindowSize:
        if (value > maxWindow)
          error ??= { code: h2Error.flowControlError, message: `SETTINGS_INITIAL_WINDOW_SIZE ${value}` };
        initialWindow = value;
        break;
      case setting.maxFrameSize:
        if (value < 16384 || value > 16777215)
          error ??= { code: h2Error.protocolError, message: `SETTINGS_MAX_FRAME_SIZE ${value}` };
        maxFrame = value;
        break;
      case setting.enableConnectProtocol:
        if (value > 1)
          error ??= { code: h2Error.protocolError, message: `SETTINGS_ENABLE_CONNECT_PROTOCOL ${value}` };
        connectProtocol = value === 1;
        break;
      default:
    }
  }
  return { tableLimits, maxConcurrentStreams, initialWindow, maxFrame, connectProtocol, error };
}

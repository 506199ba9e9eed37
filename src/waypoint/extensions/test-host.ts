// For the tests of this folder: a host with a module, and calls as promises.
import { silentLogger, systemClock, type Clock, type Logger } from '#/kit/index.ts';
import type { Extension } from '#/model/index.ts';
import type { ExtensionResult } from './answer.ts';
import { ExtensionHost } from './host.ts';
import type { Phase, PhaseInput } from './protocol.ts';

export const extensionOf = (module: string, changes: Partial<Extension> = {}): Extension => ({
  kind: 'extension',
  name: 'shop/filter',
  targets: [],
  phase: 'UNSPECIFIED',
  priority: 0,
  module,
  language: 'typescript',
  config: null,
  onFailure: 'refuse',
  // Machines of tests are slow: a test that is not about time does not end by it.
  timeoutMs: 60_000,
  memoryMb: 64,
  ...changes,
});

export const requestInput = (changes: Partial<PhaseInput> = {}): PhaseInput => ({
  ip: '10.1.2.3',
  port: 40_000,
  m: 'GET',
  s: 'http',
  a: 'shop.example',
  p: '/items?a=1',
  h: ['user-agent', 'curl/8', 'cookie', 'a=1', 'cookie', 'b=2'],
  i: 'spiffe://td/ns/front/sa/web',
  ...changes,
});

export class TestHost implements Disposable {
  readonly host: ExtensionHost;
  readonly lines: string[] = [];

  constructor(
    module: string,
    changes: Partial<Extension> = {},
    { clock = systemClock, ...more }: { clock?: Clock; maxInFlight?: number; loadMs?: number } = {},
  ) {
    const log: Logger = {
      ...silentLogger,
      log: (level, message, fields) =>
        this.lines.push(`${level} ${message} ${String(fields?.['error'] ?? '')}`),
      warn: (message, fields) => log.log('warn', message, fields),
      error: (message, fields) => log.log('error', message, fields),
    };
    this.host = new ExtensionHost({ extension: extensionOf(module, changes), clock, log, ...more });
  }

  call(phase: Phase, input: PhaseInput): Promise<ExtensionResult> {
    return new Promise((resolve) => this.host.call(phase, input, resolve));
  }

  request(changes: Partial<PhaseInput> = {}): Promise<ExtensionResult> {
    return this.call('onRequest', requestInput(changes));
  }

  [Symbol.dispose](): void {
    this.host.destroy();
  }
}

/** Until the condition holds; the test's own time limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

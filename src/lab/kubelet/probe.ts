// Probes, asked from the node as a kubelet does: http and tcp by a socket made in the node's namespace, exec
// inside the container.
import type { Socket } from 'node:net';
import type { Container, Probe, ProbeHandler } from '#/kube/index.ts';
import { systemClock, type Clock } from '#/kit/index.ts';
import { inNetns, run } from '../command.ts';

export interface ProbeResult {
  readonly ok: boolean;
  readonly message: string;
}

export interface ProbeTarget {
  readonly podIp: string;
  /** Path of the node's namespace. */
  readonly nodeNetns: string;
  /** A TCP connection that starts in the node's namespace. */
  connect(ip: string, port: number): Socket;
  /** Runs a command in the container; its exit code and what it printed. */
  exec(argv: readonly string[], timeoutMs: number): Promise<{ code: number; output: string }>;
}

/** A port by number or by name. Undefined if the container has no port of that name. */
export function probePort(container: Container, port: number | string): number | undefined {
  if (typeof port === 'number') return port;
  if (/^\d+$/.test(port)) return Number(port);
  return container.ports?.find(({ name }) => name === port)?.containerPort;
}

const isSuccess = (status: number): boolean => status >= 200 && status < 400;

/** Asks once. Never throws: what goes wrong is the message. */
export async function runProbe(
  handler: ProbeHandler,
  container: Container,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<ProbeResult> {
  try {
    if (handler.exec !== undefined) {
      const { code, output } = await target.exec(handler.exec.command ?? [], timeoutMs);
      return { ok: code === 0, message: output.trim().slice(0, 300) || `exit code ${code}` };
    }
    if (handler.grpc !== undefined)
      return {
        ok: false,
        message: 'grpc probes are not supported by the lab: use httpGet, tcpSocket or exec',
      };
    const where = handler.httpGet ?? handler.tcpSocket;
    if (where === undefined) return { ok: false, message: 'the probe names no way to ask' };
    const port = probePort(container, where.port);
    if (port === undefined) return { ok: false, message: `the container has no port named "${where.port}"` };
    const host = where.host ?? target.podIp;
    if (handler.httpGet === undefined) {
      await tcpProbe(target.connect(host, port), timeoutMs);
      return { ok: true, message: 'connected' };
    }
    const status =
      handler.httpGet.scheme?.toUpperCase() === 'HTTPS'
        ? await httpsStatus(handler.httpGet, host, port, target, timeoutMs)
        : await httpStatus(handler.httpGet, host, port, target.connect(host, port), timeoutMs);
    return { ok: isSuccess(status), message: `HTTP probe failed with statuscode: ${status}` };
  } catch (error) {
    return { ok: false, message: (error as Error).message };
  }
}

function settle<T>(socket: Socket, timeoutMs: number, begin: (done: (value: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the connection was closed')));
    begin(resolve);
    socket.on('close', () => clearTimeout(timer));
  }).finally(() => socket.destroy());
}

function tcpProbe(socket: Socket, timeoutMs: number): Promise<void> {
  return settle<void>(socket, timeoutMs, (done) => socket.on('connect', () => done()));
}

type HttpGet = NonNullable<ProbeHandler['httpGet']>;

const hostText = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;
const pathOf = (get: HttpGet): string =>
  get.path?.startsWith('/') === true ? get.path : `/${get.path ?? ''}`;

function httpStatus(
  get: HttpGet,
  host: string,
  port: number,
  socket: Socket,
  timeoutMs: number,
): Promise<number> {
  return settle<number>(socket, timeoutMs, (done) => {
    const headers = new Map([
      ['Host', hostText(host, port)],
      ['User-Agent', 'kube-probe/aura'],
      ['Accept', '*/*'],
      ['Connection', 'close'],
      ...(get.httpHeaders ?? []).map(({ name, value }): [string, string] => [name, value]),
    ]);
    const lines = [...headers].map(([name, value]) => `${name}: ${value.replaceAll(/[\r\n]/g, ' ')}\r\n`);
    socket.on('connect', () =>
      socket.write(`GET ${encodeURI(pathOf(get))} HTTP/1.1\r\n${lines.join('')}\r\n`),
    );
    let head = '';
    socket.on('data', (chunk: Buffer) => {
      head += chunk.toString('latin1');
      const match = /^HTTP\/1\.[01] (\d{3})/.exec(head);
      if (match !== null) done(Number(match[1]));
      else if (head.length > 64) socket.destroy(new Error('the answer is not HTTP'));
    });
  });
}

/** By curl: the room has no TLS, and a probe does not check certificates. */
async function httpsStatus(
  get: HttpGet,
  host: string,
  port: number,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<number> {
  const url = `https://${hostText(host, port)}${encodeURI(pathOf(get))}`;
  const seconds = String(Math.max(1, Math.ceil(timeoutMs / 1000)));
  const headers = (get.httpHeaders ?? []).flatMap(({ name, value }) => ['-H', `${name}: ${value}`]);
  const result = await run(
    inNetns(target.nodeNetns, [
      'curl',
      '-sk',
      '-m',
      seconds,
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      ...headers,
      url,
    ]),
    { timeoutMs: timeoutMs + 2000 },
  );
  if (result.code !== 0) throw new Error(`curl: exit code ${result.code}`);
  return Number(result.stdout);
}

/** Repeats a probe until disposed and tells when its verdict changes, by the thresholds. */
export class ProbeLoop implements Disposable {
  readonly #abort = new AbortController();

  constructor(
    probe: Probe,
    initiallyOk: boolean,
    ask: (timeoutMs: number) => Promise<ProbeResult>,
    handlers: {
      readonly onVerdict: (ok: boolean, result: ProbeResult) => void;
      readonly onFailure: (result: ProbeResult) => void;
    },
    clock: Clock = systemClock,
  ) {
    void this.#loop(probe, initiallyOk, ask, handlers, clock).catch(() => {});
  }

  async #loop(
    probe: Probe,
    initiallyOk: boolean,
    ask: (timeoutMs: number) => Promise<ProbeResult>,
    handlers: {
      onVerdict: (ok: boolean, result: ProbeResult) => void;
      onFailure: (result: ProbeResult) => void;
    },
    clock: Clock,
  ): Promise<void> {
    const { signal } = this.#abort;
    const period = (probe.periodSeconds ?? 10) * 1000;
    const timeout = (probe.timeoutSeconds ?? 1) * 1000;
    const enough = { good: probe.successThreshold ?? 1, bad: probe.failureThreshold ?? 3 };
    let ok = initiallyOk;
    let streak = 0;
    let lastOk: boolean | undefined;
    await clock.sleep((probe.initialDelaySeconds ?? 0) * 1000, signal);
    for (let round = 0; !signal.aborted; round++) {
      const result = await ask(timeout);
      if (signal.aborted) return;
      streak = result.ok === lastOk ? streak + 1 : 1;
      lastOk = result.ok;
      // A program that has just started may refuse twice before it is worth a word.
      if (!result.ok && (ok || streak > 2)) handlers.onFailure(result);
      if (result.ok ? streak >= enough.good : streak >= enough.bad) {
        if (result.ok !== ok || (!result.ok && streak === enough.bad)) {
          ok = result.ok;
          handlers.onVerdict(ok, result);
        }
      }
      // A container that has just started is asked more often, so that a rollout need not wait a whole period.
      const soon = !ok && round < 20 ? Math.min(period, 250 * 2 ** Math.min(round, 3)) : period;
      await clock.sleep(soon, signal);
    }
  }

  [Symbol.dispose](): void {
    this.#abort.abort(new Error('probe ended'));
  }
}

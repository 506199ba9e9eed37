// What the lab's process says about itself, over a socket in its folder: one JSON document per question.
import { createServer, request, type Server } from 'node:http';
import { rmSync } from 'node:fs';

export interface ComponentStatus {
  /** `DaemonSet istio-system/ztunnel` */
  readonly name: string;
  readonly ready: boolean;
  /** `2/3 ready`, and what the first pod that is not ready waits for. */
  readonly message: string;
}

export interface PodSummary {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly phase: string;
  readonly ready: boolean;
  readonly restarts: number;
  readonly ips: readonly string[];
}

export interface NodeSummary {
  readonly name: string;
  readonly ips: readonly string[];
  readonly podCidrs: readonly string[];
  readonly ready: boolean;
  readonly controlPlane: boolean;
}

export interface LabStatus {
  readonly id: string;
  readonly home: string;
  readonly phase: 'starting' | 'ready' | 'failed' | 'stopped' | 'absent';
  /** What it waits for, or what failed. */
  readonly message: string;
  readonly kubeconfig: string;
  readonly mesh: boolean;
  readonly families: readonly string[];
  readonly nodes: readonly NodeSummary[];
  readonly components: readonly ComponentStatus[];
  readonly pods: readonly PodSummary[];
}

export function serveStatus(socket: string, status: () => LabStatus): Server {
  rmSync(socket, { force: true });
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(status()));
  });
  server.listen(socket);
  return server;
}

/** Undefined if nobody answers. */
export function askStatus(socket: string, timeoutMs = 2000): Promise<LabStatus | undefined> {
  return new Promise((resolve) => {
    const asked = request({ socketPath: socket, path: '/status', timeout: timeoutMs }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', () => resolve(undefined));
      response.on('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(parts).toString('utf8')) as LabStatus);
        } catch {
          resolve(undefined);
        }
      });
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(undefined));
    asked.end();
  });
}

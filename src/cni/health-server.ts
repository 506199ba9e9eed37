// The agent's HTTP ports: whether it lives and is ready (for the kubelet), and what it counts (for Prometheus).
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Gauge, Registry } from 'prom-client';

export interface ObservedValues {
  readonly installReady: () => boolean;
  readonly pods: () => number;
}

/** Names of upstream's, but for `aura_cni_pods`. */
export function agentMetrics(observe: ObservedValues) {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    installs: new Counter({
      name: 'istio_cni_installs_total',
      help: 'Times the plugin was written to the CNI configuration, by result.',
      labelNames: ['result'],
      registers,
    }),
    installReady: new Gauge({
      name: 'istio_cni_install_ready',
      help: '1 while the plugin is in the CNI configuration.',
      registers,
      collect() {
        this.set(observe.installReady() ? 1 : 0);
      },
    }),
    reconcileEvents: new Counter({
      name: 'nodeagent_reconcile_events_total',
      help: 'Changes of pods of this node that were seen, by type.',
      labelNames: ['type'],
      registers,
    }),
    ztunnelConnected: new Gauge({
      name: 'ztunnel_connected',
      help: 'Number of ztunnels that are connected.',
      registers,
    }),
    pluginRequests: new Counter({
      name: 'istio_cni_plugin_requests_total',
      help: 'Requests of the plugin, by HTTP status of the answer.',
      labelNames: ['response_code'],
      registers,
    }),
    pods: new Gauge({
      name: 'aura_cni_pods',
      help: 'Pods of this node that are in the mesh.',
      registers,
      collect() {
        this.set(observe.pods());
      },
    }),
  };
}

export type AgentMetrics = ReturnType<typeof agentMetrics>;

export interface Readiness {
  /** What the agent still waits for; empty if it is ready. */
  readonly waitingFor: () => readonly string[];
}

export interface HealthServer {
  readonly healthPort: number;
  readonly metricsPort: number;
  close(): Promise<void>;
}

export async function startHealthServer(options: {
  host: string;
  healthPort: number;
  metricsPort: number;
  metrics: AgentMetrics;
  readiness: Readiness;
}): Promise<HealthServer> {
  const { registry } = options.metrics;
  const health = await listen(options.host, options.healthPort, (request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/healthz') return void response.end('ok\n');
    if (path !== '/readyz') return void response.writeHead(404).end();
    const waiting = options.readiness.waitingFor();
    response.writeHead(waiting.length === 0 ? 200 : 503, { 'content-type': 'text/plain' });
    response.end(waiting.length === 0 ? 'ready\n' : `waiting for ${waiting.join(', ')}\n`);
  });
  let metrics: Server;
  try {
    metrics = await listen(options.host, options.metricsPort, (request, response) => {
      if (request.url?.split('?')[0] !== '/metrics') return void response.writeHead(404).end();
      registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        (error: Error) => response.writeHead(500).end(`${error.message}\n`),
      );
    });
  } catch (error) {
    health.close();
    throw error;
  }
  const port = (server: Server) => (server.address() as AddressInfo).port;
  return {
    healthPort: port(health),
    metricsPort: port(metrics),
    close: async () => {
      for (const server of [health, metrics]) {
        const closed = once(server, 'close');
        server.close();
        server.closeAllConnections();
        await closed;
      }
    },
  };
}

async function listen(host: string, port: number, handler: RequestListener): Promise<Server> {
  const server = createServer(handler);
  server.maxConnections = 64;
  server.requestTimeout = 5000;
  const bind = async (address: string): Promise<void> => {
    const listening = once(server, 'listening');
    server.listen(port, address);
    await listening;
  };
  try {
    await bind(host);
  } catch (error) {
    // A node without IPv6.
    if (host !== '::' || (error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT') throw error;
    await bind('0.0.0.0');
  }
  return server;
}

// The exporter for a provider of MeshConfig.
import { isV6 } from '#/kit/index.ts';
import type { Provider } from '#/model/index.ts';
import { otlpExporter } from './otlp-exporter.ts';
import type { SpanExporter, SpanReporter } from './span.ts';
import { zipkinExporter } from './zipkin-exporter.ts';

/** Undefined: the provider does not take spans. Nothing is loaded or dialled before the first batch. */
export function providerExporter(provider: Provider, reporter: SpanReporter): SpanExporter | undefined {
  if (provider.type !== 'opentelemetry' && provider.type !== 'zipkin') return undefined;
  const { hostname, port } = provider.address;
  const endpoint = `${isV6(hostname) ? `[${hostname}]` : hostname}:${port}`;
  if (provider.type === 'zipkin') return zipkinExporter({ endpoint, path: provider.path, reporter });
  const { httpPath, headers } = provider;
  return otlpExporter({ endpoint, httpPath, headers, reporter });
}

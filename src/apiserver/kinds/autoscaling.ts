// HorizontalPodAutoscaler: stored as v2, shown as v1 to those who ask for it (kubectl autoscale does).
import { dig, digList, digText, isObject, type Item, type Json } from '../json.ts';
import type { KindRules } from './kind.ts';

export const autoscalerRules: KindRules = {
  defaults(item) {
    if (item.spec !== undefined) item.spec['minReplicas'] ??= 1;
  },
};

const isCpu = (metric: Json): boolean =>
  digText(metric, 'type') === 'Resource' && digText(metric, 'resource', 'name') === 'cpu';

export const autoscalerV1 = {
  toStorage(item: Item): void {
    const { spec, status } = item;
    const target = spec?.['targetCPUUtilizationPercentage'];
    if (spec !== undefined && typeof target === 'number') {
      delete spec['targetCPUUtilizationPercentage'];
      const others = digList(spec, 'metrics').filter((metric) => !isCpu(metric));
      spec['metrics'] = [
        {
          type: 'Resource',
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: target } },
        },
        ...others,
      ];
    }
    if (status !== undefined) delete status['currentCPUUtilizationPercentage'];
  },
  fromStorage(item: Item): void {
    const { spec, status } = item;
    if (spec !== undefined) {
      const cpu = digList(spec, 'metrics').find(isCpu);
      const target = dig(cpu, 'resource', 'target', 'averageUtilization');
      if (typeof target === 'number') spec['targetCPUUtilizationPercentage'] = target;
      delete spec['metrics'];
      delete spec['behavior'];
    }
    if (isObject(status)) {
      const current = dig(
        digList(status, 'currentMetrics').find(isCpu),
        'resource',
        'current',
        'averageUtilization',
      );
      if (typeof current === 'number') status['currentCPUUtilizationPercentage'] = current;
      delete status['currentMetrics'];
      delete status['conditions'];
    }
  },
};

// Writes src/apiserver/schema/types.txt: field names and types of the built-in kinds, one type per line, read from
// the models of @kubernetes/client-node. Loading those models at run time would cost 70 MB; the table costs 1.
// Run it after an update of that package: node scripts/gen-kube-types.ts
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

interface Attribute {
  baseName: string;
  type: string;
  format: string;
}

const root = resolve(import.meta.dirname, '..');
const models = resolve(root, 'node_modules/@kubernetes/client-node/dist/gen/models');

const kinds = `
  V1Pod V1Namespace V1Node V1Service CoreV1Event V1ConfigMap V1Secret V1ServiceAccount V1Endpoints V1PersistentVolume
  V1PersistentVolumeClaim V1LimitRange V1ResourceQuota V1PodTemplate V1ReplicationController V1Binding
  V1Deployment V1ReplicaSet V1DaemonSet V1StatefulSet V1ControllerRevision V1Job V1CronJob V1EndpointSlice
  EventsV1Event V1Lease V1CertificateSigningRequest V1CustomResourceDefinition V1APIService V1Ingress V1IngressClass
  V1NetworkPolicy V1IPAddress V1ServiceCIDR V1Role V1RoleBinding V1ClusterRole V1ClusterRoleBinding V1StorageClass
  V1CSIDriver V1CSINode V1VolumeAttachment V2HorizontalPodAutoscaler V1PodDisruptionBudget V1PriorityClass
  V1RuntimeClass V1MutatingWebhookConfiguration V1ValidatingWebhookConfiguration V1ValidatingAdmissionPolicy
  V1ValidatingAdmissionPolicyBinding V1TokenReview AuthenticationV1TokenRequest V1SelfSubjectReview
  V1SubjectAccessReview V1SelfSubjectAccessReview V1LocalSubjectAccessReview V1SelfSubjectRulesReview V1Scale
  V1Eviction V1DeleteOptions V1Status V1ListMeta
`
  .trim()
  .split(/\s+/);

// Numbers and strings that are quantities: the models do not tell them from strings.
const quantityMaps = new Set([
  'limits',
  'requests',
  'capacity',
  'allocatable',
  'hard',
  'used',
  'overhead',
  'podFixed',
  'allocatedResources',
]);
const quantityFields = new Set(['sizeLimit', 'divisor', 'averageValue', 'containerMemory']);
const known = new Set(readdirSync(models));

const shortName = (model: string): string => model.replace(/^V[12](?=[A-Z])/, '');

const seen = new Map<string, string>();
const queue = [...kinds];

function shape(model: string, type: string, name: string, format: string): string {
  const list = /^Array<(.*)>$/.exec(type);
  if (list !== null) return `[${shape(model, list[1] as string, name, format)}]`;
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type);
  if (map !== null)
    return `{${(quantityMaps.has(name) || model === 'V1LimitRangeItem') && map[1] === 'string' ? 'q' : shape(model, map[1] as string, name, format)}}`;
  switch (type) {
    case 'string':
      if (quantityFields.has(name) || (name === 'value' && model === 'V2MetricTarget')) return 'q';
      return format === 'byte' ? 'y' : 's';
    case 'number':
      return format === 'int64' ? 'l' : format === 'double' ? 'n' : 'i';
    case 'boolean':
      return 'b';
    case 'Date':
    case 'V1MicroTime':
      return type === 'Date' ? 't' : 'u';
    case 'IntOrString':
      return 'x';
    case 'any':
      return 'o';
    default:
      if (!known.has(`${type}.js`)) throw new Error(`${model}.${name}: ${type} is not known`);
      queue.push(type);
      return shortName(type);
  }
}

for (let model = queue.shift(); model !== undefined; model = queue.shift()) {
  if (seen.has(model)) continue;
  seen.set(model, '');
  const module = (await import(resolve(models, `${model}.js`))) as Record<
    string,
    { attributeTypeMap: Attribute[] }
  >;
  const declared = readFileSync(resolve(models, `${model}.d.ts`), 'utf8');
  const fields = (module[model]?.attributeTypeMap ?? []).map(({ baseName, type, format }) => {
    const required = new RegExp(`^ {4}'_?${baseName.replace('$', '\\$')}': `, 'm').test(declared);
    return `${baseName}=${shape(model, type, baseName, format)}${required ? '!' : ''}`;
  });
  seen.set(model, fields.join(' '));
}

const lines = [...seen].map(([model, fields]) => `${shortName(model)}: ${fields}`).sort();
const head =
  '# Made by scripts/gen-kube-types.ts. s string, i int32, l int64, n number, b boolean, t time, u microtime, y bytes,\n' +
  '# q quantity, x int or string, o anything, [T] list, {T} map, ! required.\n';
writeFileSync(resolve(root, 'src/apiserver/schema/types.txt'), `${head}${lines.join('\n')}\n`);
console.log(`${lines.length} types`);

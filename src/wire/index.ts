// wire: bytes to the model and back. Owns the protobuf messages (gen/ is generated from proto/), the HBONE
// headers, the ZDS datagrams, DNS messages and the JSON of waypoint resources. May import kit, errors and model. Must not know sockets, files, Kubernetes,
// or what anyone does with a record: it decodes in full or refuses by name.
export * from './address.ts';
export * from './ca.ts';
export * from './discovery.ts';
export * from './dns/answer.ts';
export { dnsCode, dnsType, dnsTypeName, hostnameOf, internetClass, nameOf, nameText } from './dns/bytes.ts';
export {
  encodeDnsQuery,
  questionText,
  readDnsRequest,
  type DnsExtension,
  type DnsQuery,
  type DnsQuestion,
  type DnsRequest,
  type ForwardedOptions,
} from './dns/query.ts';
export * from './envoy-services.ts';
export * from './hbone-headers.ts';
export * from './policy.ts';
export * from './proxy-protocol.ts';
export * from './state-of-the-world.ts';
export * from './waypoint-resource.ts';
export { WireError } from './wire-error.ts';
export * from './zds.ts';

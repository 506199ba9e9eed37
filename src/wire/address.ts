// istio.workload.Address: a workload or a service, in bytes.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { policyKey, serviceKey, type Policy, type Service, type Workload } from '#/model/index.ts';
import * as pb from './gen/istio/workload/workload_pb.ts';
import { decodeService, encodeService } from './service.ts';
import { decodeWorkload, encodeWorkload } from './workload.ts';
import { fault, named, parsed } from './wire-error.ts';

/** The name of a record in xDS: a workload's uid, a service's `ns/hostname`, a policy's `ns/name`. */
export function resourceName(record: Workload | Service | Policy): string {
  if (!('kind' in record)) return policyKey(record);
  return record.kind === 'workload' ? record.uid : serviceKey(record);
}

/** Throws WireError that names the resource and the field if the record cannot stand on the wire. */
export function encodeAddress(record: Workload | Service): Uint8Array {
  const type = named(resourceName(record), () =>
    record.kind === 'workload'
      ? ({ case: 'workload', value: encodeWorkload(record) } as const)
      : ({ case: 'service', value: encodeService(record) } as const),
  );
  return toBinary(pb.AddressSchema, create(pb.AddressSchema, { type }));
}

/** Throws WireError that names the resource and the field. Unknown fields are passed over. */
export function decodeAddress(bytes: Uint8Array): Workload | Service {
  const { type } = parsed('istio.workload.Address', () => fromBinary(pb.AddressSchema, bytes, read));
  switch (type.case) {
    case 'workload':
      return named(type.value.uid, () => decodeWorkload(type.value));
    case 'service':
      return named(serviceKey(type.value), () => decodeService(type.value));
    case undefined:
      throw fault('type', 'neither a workload nor a service');
  }
}

// Nothing is written back, so what is unknown need not be kept.
const read = { readUnknownFields: false };

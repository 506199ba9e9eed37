// tls of a DestinationRule: certificates come from a Secret of the rule's namespace. What cannot be read makes the
// connection fail: an empty root certificate trusts nobody, while none at all would trust the system's.
import type { OriginationTls } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { text, texts, type Json } from '../read.ts';
import type { Notes } from './values.ts';

function decoded(
  data: Readonly<Record<string, string>> | undefined,
  ...names: readonly string[]
): string | undefined {
  for (const name of names) {
    const value = data?.[name];
    if (value !== undefined && value !== '') return Buffer.from(value, 'base64').toString();
  }
  return undefined;
}

/** Undefined: no TLS of the waypoint's own making (HBONE has its own). */
export function clientTls(
  tls: Json,
  field: string,
  namespace: string,
  lookup: Lookup,
  notes: Notes,
): OriginationTls | undefined {
  const mode = text(tls['mode']) || 'DISABLE';
  if (mode === 'DISABLE' || mode === 'ISTIO_MUTUAL') return undefined;
  const sni = text(tls['sni']);
  const base = {
    subjectAltNames: texts(tls['subjectAltNames']),
    insecureSkipVerify: tls['insecureSkipVerify'] === true,
    ...(sni === '' ? {} : { sni }),
  };
  const failing = (mtls: boolean): OriginationTls => ({
    ...base,
    mode: mtls ? 'MUTUAL' : 'SIMPLE',
    insecureSkipVerify: false,
    caPem: '',
  });
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL') {
    notes.add(`${field}.mode`, 'is not a mode of TLS; connections fail');
    return failing(false);
  }
  const mtls = mode === 'MUTUAL';
  for (const name of ['clientCertificate', 'privateKey', 'caCertificates', 'caCrl']) {
    const path = text(tls[name]);
    if (path === '' || (name === 'caCertificates' && path === 'system')) continue;
    notes.add(`${field}.${name}`, 'files are not read at a waypoint, use credentialName; connections fail');
    return failing(mtls);
  }
  const credential = text(tls['credentialName']);
  if (credential === '') {
    if (!mtls) return { ...base, mode };
    notes.add(`${field}.credentialName`, 'is missing, MUTUAL needs a certificate; connections fail');
    return failing(true);
  }
  const secret = lookup.secret(namespace, credential)?.data;
  const caPem =
    decoded(secret, 'ca.crt', 'cacert') ??
    decoded(lookup.secret(namespace, `${credential}-cacert`)?.data, 'ca.crt', 'cacert');
  const certificatePem = decoded(secret, 'tls.crt', 'cert');
  const keyPem = decoded(secret, 'tls.key', 'key');
  if (mtls && (certificatePem === undefined || keyPem === undefined)) {
    notes.add(
      `${field}.credentialName`,
      `Secret ${namespace}/${credential} ${secret === undefined ? 'was not found' : 'has no tls.crt and tls.key'}; connections fail`,
    );
    return failing(true);
  }
  if (!mtls && caPem === undefined) {
    notes.add(
      `${field}.credentialName`,
      `there is no ca.crt in Secret ${namespace}/${credential}; connections fail`,
    );
    return failing(false);
  }
  return {
    ...base,
    mode,
    ...(caPem === undefined ? {} : { caPem }),
    ...(mtls && certificatePem !== undefined && keyPem !== undefined ? { certificatePem, keyPem } : {}),
  };
}

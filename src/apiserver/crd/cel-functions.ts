// The functions and types that Kubernetes adds to CEL: URLs, addresses, quantities, regular expressions, lists.
import { Environment } from '@marcbachmann/cel-js';
import { cidr, cidrContains, parseCidr, parseIp, parseIpBytes } from '#/kit/index.ts';
import { isObject } from '../json.ts';

class CelUrl {
  readonly url: URL;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
    // A path alone is a URL too.
    this.url = new URL(text, 'none://');
  }
}
class CelIp {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
class CelCidr {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
class CelQuantity {
  readonly value: number;
  constructor(text: string) {
    this.value = quantity(text) ?? Number.NaN;
  }
}

const suffixes: Readonly<Record<string, number>> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

function quantity(text: string): number | undefined {
  const match =
    /^([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i))?$/.exec(text);
  return match === null
    ? undefined
    : Number(`${match[1]}${match[2] ?? ''}`) * (suffixes[match[3] ?? ''] as number);
}

const absolute = (text: string): boolean =>
  (URL.canParse(text) && text.includes(':')) || text.startsWith('/');
/** What a URL has that its text does not show is "none". */
const part = (url: CelUrl, value: string): string => (url.url.protocol === 'none:' ? '' : value);

function regex(pattern: string): RegExp {
  return new RegExp(pattern, 'u');
}

export function makeEnvironment(): Environment {
  const environment = new Environment({
    unlistedVariablesAreDyn: true,
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
  });
  environment
    .registerType('kubernetes.URL', CelUrl)
    .registerType('net.IP', CelIp)
    .registerType('net.CIDR', CelCidr)
    .registerType('kubernetes.Quantity', CelQuantity);
  const f = (signature: string, handler: (...args: never[]) => unknown): void => {
    environment.registerFunction(signature, handler as (...args: unknown[]) => unknown);
  };
  f('isURL(string): bool', (text: string) => absolute(text));
  f('url(string): kubernetes.URL', (text: string) => {
    if (!absolute(text)) throw new Error(`not a URL: ${text}`);
    return new CelUrl(text);
  });
  f('kubernetes.URL.getScheme(): string', (url: CelUrl) => part(url, url.url.protocol.replace(/:$/, '')));
  f('kubernetes.URL.getHost(): string', (url: CelUrl) => part(url, url.url.host));
  f('kubernetes.URL.getHostname(): string', (url: CelUrl) =>
    part(url, url.url.hostname.replace(/^\[|\]$/g, '')),
  );
  f('kubernetes.URL.getPort(): string', (url: CelUrl) => part(url, url.url.port));
  f('kubernetes.URL.getEscapedPath(): string', (url: CelUrl) =>
    url.url.pathname === '/' && !/\/\/[^/]*\/|^\//.test(url.text) ? '' : url.url.pathname,
  );
  f('kubernetes.URL.getQuery(): map', (url: CelUrl) => {
    const out = new Map<string, string[]>();
    for (const key of url.url.searchParams.keys()) out.set(key, url.url.searchParams.getAll(key));
    return out;
  });
  f('isIP(string): bool', (text: string) => parseIp(text) !== undefined);
  f('ip(string): net.IP', (text: string) => {
    const found = parseIp(text);
    if (found === undefined) throw new Error(`not an IP address: ${text}`);
    return new CelIp(found);
  });
  f('net.IP.family(): int', (ip: CelIp) => (ip.text.includes(':') ? 6n : 4n));
  f('net.IP.isLoopback(): bool', (ip: CelIp) => ip.text.startsWith('127.') || ip.text === '::1');
  f('net.IP.isUnspecified(): bool', (ip: CelIp) => ip.text === '0.0.0.0' || ip.text === '::');
  f(
    'net.IP.isLinkLocalMulticast(): bool',
    (ip: CelIp) => ip.text.startsWith('224.0.0.') || /^ff.2:/.test(ip.text),
  );
  f(
    'net.IP.isLinkLocalUnicast(): bool',
    (ip: CelIp) => ip.text.startsWith('169.254.') || /^fe[89ab]/.test(ip.text),
  );
  f(
    'net.IP.isGlobalUnicast(): bool',
    (ip: CelIp) => !/^(127\.|169\.254\.|22[4-9]\.|23\d\.|255\.|0\.0\.0\.0$|::1?$|ff|fe[89ab])/.test(ip.text),
  );
  f('isCIDR(string): bool', (text: string) => text.includes('/') && parseCidr(text) !== undefined);
  f('cidr(string): net.CIDR', (text: string) => {
    if (!text.includes('/') || parseCidr(text) === undefined) throw new Error(`not a CIDR range: ${text}`);
    return new CelCidr(text);
  });
  const contains = (range: CelCidr, text: string): boolean => {
    const base = parseCidr(range.text);
    const bytes = parseIpBytes(text);
    return base !== undefined && bytes !== undefined && cidrContains(base, bytes);
  };
  f('net.CIDR.containsIP(string): bool', contains);
  f('net.CIDR.containsIP(net.IP): bool', (range: CelCidr, ip: CelIp) => contains(range, ip.text));
  f('net.CIDR.prefixLength(): int', (range: CelCidr) => BigInt(parseCidr(range.text)?.length ?? 0));
  f('net.CIDR.ip(): net.IP', (range: CelCidr) => new CelIp(range.text.split('/')[0] as string));
  f('net.CIDR.containsCIDR(string): bool', (range: CelCidr, text: string) => {
    const outer = parseCidr(range.text);
    const inner = parseCidr(text);
    return (
      outer !== undefined &&
      inner !== undefined &&
      inner.length >= outer.length &&
      cidrContains(outer, cidr(inner.base, inner.length).base)
    );
  });
  f('isQuantity(string): bool', (text: string) => quantity(text) !== undefined);
  f('quantity(string): kubernetes.Quantity', (text: string) => {
    if (quantity(text) === undefined) throw new Error(`not a quantity: ${text}`);
    return new CelQuantity(text);
  });
  f(
    'kubernetes.Quantity.isGreaterThan(kubernetes.Quantity): bool',
    (a: CelQuantity, b: CelQuantity) => a.value > b.value,
  );
  f(
    'kubernetes.Quantity.isLessThan(kubernetes.Quantity): bool',
    (a: CelQuantity, b: CelQuantity) => a.value < b.value,
  );
  f('kubernetes.Quantity.compareTo(kubernetes.Quantity): int', (a: CelQuantity, b: CelQuantity) =>
    BigInt(Math.sign(a.value - b.value)),
  );
  f('kubernetes.Quantity.sign(): int', (a: CelQuantity) => BigInt(Math.sign(a.value)));
  f('kubernetes.Quantity.isInteger(): bool', (a: CelQuantity) => Number.isInteger(a.value));
  f('kubernetes.Quantity.asInteger(): int', (a: CelQuantity) => BigInt(Math.trunc(a.value)));
  f('kubernetes.Quantity.asApproximateFloat(): double', (a: CelQuantity) => a.value);
  f('string.find(string): string', (text: string, pattern: string) => regex(pattern).exec(text)?.[0] ?? '');
  f('string.findAll(string): list', (text: string, pattern: string) =>
    [...text.matchAll(new RegExp(pattern, 'gu'))].map((match) => match[0]),
  );
  f('hasField(dyn, string): bool', (value: unknown, name: string) =>
    value instanceof Map
      ? value.has(name)
      : isObject(value) && Object.hasOwn(value, name) && value[name] !== undefined,
  );
  f('list.isSorted(): bool', (list: unknown[]) =>
    list.every((entry, i) => i === 0 || (list[i - 1] as string) <= (entry as string)),
  );
  f('list.sum(): dyn', (list: (bigint | number)[]) =>
    list.reduce(
      (sum: bigint | number, entry) =>
        typeof entry === 'bigint' ? BigInt(sum) + entry : Number(sum) + entry,
      typeof list[0] === 'number' ? 0 : 0n,
    ),
  );
  f('list.min(): dyn', (list: unknown[]) => list.reduce((a, b) => ((a as number) < (b as number) ? a : b)));
  f('list.max(): dyn', (list: unknown[]) => list.reduce((a, b) => ((a as number) > (b as number) ? a : b)));
  return environment;
}

// TrafficPolicy (policy.aura.io) → traffic-policy. One that cannot be read in full is not half applied: its form before
// is not kept either, since nobody can say what it should be; what it is for is refused (decision D8).
import type {
  DescriptorAction,
  ExternalProcessing,
  GlobalRateLimit,
  HttpMatch,
  LocalRateLimit,
  ProviderAddress,
} from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { list, record, text, type Json } from '../read.ts';
import type { Translation } from '../translation.ts';
import { attach, readTargets } from './attachment.ts';
import { acceptedCondition } from './own-status.ts';
import { httpMatches } from './route-matches.ts';
import { fullHost, type SpecFacts } from './spec-facts.ts';
import { duration, Notes, port, wholeNumber } from './values.ts';
import { recordFor } from './waypoint-record.ts';

interface Context {
  readonly namespace: string;
  readonly domain: string;
  readonly notes: Notes;
}

/** A match in the form of an HTTPRoute's. */
function matchOf(value: unknown, field: string, notes: Notes): HttpMatch | undefined {
  return value === undefined || value === null ? undefined : httpMatches([value], field, notes)[0];
}

function server(value: unknown, field: string, { namespace, domain, notes }: Context): ProviderAddress {
  const ref = record(value);
  const number = port(ref['port']);
  const hostname = fullHost(text(ref['host']), namespace, domain);
  if (hostname === '' || number === undefined) notes.add(field, 'has no host and port');
  return { hostname, port: number ?? 0 };
}

function localLimit(value: unknown, field: string, notes: Notes): LocalRateLimit {
  const limit = record(value);
  const maxTokens = wholeNumber(limit['maxTokens'], `${field}.maxTokens`, notes);
  if (maxTokens === undefined) notes.add(`${field}.maxTokens`, 'is missing');
  const intervalMs = duration(limit['interval'], `${field}.interval`, notes);
  if (intervalMs === undefined || intervalMs <= 0)
    notes.add(`${field}.interval`, 'must be more than nothing');
  const match = matchOf(limit['match'], `${field}.match`, notes);
  return {
    maxTokens: maxTokens ?? 0,
    tokensPerFill: wholeNumber(limit['tokensPerFill'], `${field}.tokensPerFill`, notes) ?? maxTokens ?? 0,
    intervalMs: intervalMs ?? 0,
    per: limit['per'] === 'Connection' ? 'connection' : 'waypoint',
    ...(match === undefined ? {} : { match }),
    status: wholeNumber(limit['status'], `${field}.status`, notes) ?? 429,
  };
}

function action(value: unknown, field: string, notes: Notes): DescriptorAction | undefined {
  const item = record(value);
  const key = text(item['key']);
  switch (item['type']) {
    case 'GenericKey':
      return { kind: 'generic-key', key: key || 'generic_key', value: text(item['value']) };
    case 'RequestHeader':
      return {
        kind: 'request-header',
        header: text(item['header']).toLowerCase(),
        key: key || text(item['header']).toLowerCase(),
        skipIfAbsent: item['skipIfAbsent'] === true,
      };
    case 'RemoteAddress':
      return { kind: 'remote-address' };
    case 'SourcePrincipal':
      return { kind: 'source-principal', key: key || 'source_principal' };
    case 'Path':
      return { kind: 'path', key: key || 'path' };
    case 'Method':
      return { kind: 'method', key: key || 'method' };
    default:
      return notes.add(`${field}.type`, 'is not known');
  }
}

function globalLimit(value: unknown, field: string, context: Context): GlobalRateLimit {
  const { notes } = context;
  const limit = record(value);
  const match = matchOf(limit['match'], `${field}.match`, notes);
  const descriptors = list(limit['descriptors']).map((item, i) =>
    list(record(item)['entries'])
      .map((entry, j) => action(entry, `${field}.descriptors[${i}].entries[${j}]`, notes))
      .filter((entry) => entry !== undefined),
  );
  if (text(limit['domain']) === '') notes.add(`${field}.domain`, 'is missing');
  if (descriptors.length === 0) notes.add(`${field}.descriptors`, 'is empty');
  return {
    server: server(limit['server'], `${field}.server`, context),
    domain: text(limit['domain']),
    descriptors,
    timeoutMs: duration(limit['timeout'], `${field}.timeout`, notes) ?? 20,
    failOpen: limit['failOpen'] === true,
    ...(match === undefined ? {} : { match }),
  };
}

const bodyMode = (value: unknown): ExternalProcessing['requestBody'] =>
  value === 'Buffered' ? 'BUFFERED' : value === 'Streamed' ? 'STREAMED' : 'NONE';

function processing(value: Json, field: string, context: Context): ExternalProcessing {
  return {
    server: server(value['server'], `${field}.server`, context),
    timeoutMs: duration(value['timeout'], `${field}.timeout`, context.notes) ?? 200,
    failOpen: value['failOpen'] === true,
    requestHeaders: value['requestHeaders'] !== false,
    responseHeaders: value['responseHeaders'] !== false,
    requestBody: bodyMode(value['requestBody']),
    responseBody: bodyMode(value['responseBody']),
  };
}

const known = [
  'targetRefs',
  'localRateLimits',
  'globalRateLimits',
  'externalProcessing',
  'maxRequestBodyBytes',
  'maxResponseBodyBytes',
];

export function translateTrafficPolicy(facts: SpecFacts, lookup: Lookup): Translation {
  const { spec } = facts;
  const notes = new Notes();
  const context = { namespace: facts.namespace, domain: lookup.mesh.clusterDomain, notes };
  const refs = readTargets(spec);
  const { targets, gateways } = attach(refs, facts.namespace, lookup);
  if (refs.length === 0) notes.add('spec.targetRefs', 'is empty');
  for (const field of Object.keys(spec))
    if (!known.includes(field)) notes.add(`spec.${field}`, 'unknown field');
  const localRateLimits = list(spec['localRateLimits']).map((item, i) =>
    localLimit(item, `spec.localRateLimits[${i}]`, notes),
  );
  const globalRateLimits = list(spec['globalRateLimits']).map((item, i) =>
    globalLimit(item, `spec.globalRateLimits[${i}]`, context),
  );
  const external =
    spec['externalProcessing'] === undefined
      ? undefined
      : processing(record(spec['externalProcessing']), 'spec.externalProcessing', context);
  const request = wholeNumber(spec['maxRequestBodyBytes'], 'spec.maxRequestBodyBytes', notes);
  const response = wholeNumber(spec['maxResponseBodyBytes'], 'spec.maxResponseBodyBytes', notes);
  const name = `${facts.namespace}/${facts.name}`;
  const meanwhile = 'Until this is corrected, requests to what it is for are refused';
  const conditions = [acceptedCondition(facts, refs, notes.problems, meanwhile, lookup)];
  if (notes.problems.length > 0)
    return {
      records: [],
      conditions,
      problems: notes.problems,
      waypoint: recordFor(gateways, () => ({
        kind: 'http-policy',
        name: `${name} (TrafficPolicy)`,
        targets,
        action: 'Deny',
        rules: [{ from: [], to: [], when: [] }],
        dryRun: false,
      })),
    };
  return {
    records: [],
    conditions,
    problems: [],
    waypoint: recordFor(gateways, () => ({
      kind: 'traffic-policy',
      name,
      targets,
      localRateLimits,
      globalRateLimits,
      ...(external === undefined ? {} : { externalProcessing: external }),
      ...(request === undefined ? {} : { maxRequestBodyBytes: request }),
      ...(response === undefined ? {} : { maxResponseBodyBytes: response }),
    })),
  };
}

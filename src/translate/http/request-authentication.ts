// RequestAuthentication with targetRefs → request-authentication. A rule that cannot be read would let bad tokens pass,
// so everything is refused until it is corrected (decision D8).
import type { JwtRule } from '#/model/index.ts';
import { targetCondition } from '../authorization-targets.ts';
import type { Lookup } from '../lookup.ts';
import { list, optionalText, record, text, texts, type Json } from '../read.ts';
import { describeProblems, emptyTranslation, validCondition, type Translation } from '../translation.ts';
import { attach, readTargets } from './attachment.ts';
import type { SpecFacts } from './spec-facts.ts';
import { duration, Notes } from './values.ts';
import { recordFor, type WaypointRecord } from './waypoint-record.ts';

function jwtRule(rule: Json, field: string, notes: Notes): JwtRule {
  const issuer = text(rule['issuer']);
  if (issuer === '') notes.add(`${field}.issuer`, 'is missing');
  const jwks = optionalText(rule['jwks']);
  const jwksUri = optionalText(rule['jwksUri']) ?? optionalText(rule['jwks_uri']);
  if (jwks !== undefined && jwks !== '') {
    try {
      if (!Array.isArray(record(JSON.parse(jwks))['keys'])) notes.add(`${field}.jwks`, 'has no list of keys');
    } catch {
      notes.add(`${field}.jwks`, 'is not JSON');
    }
  } else if (jwksUri !== undefined && !URL.canParse(jwksUri)) notes.add(`${field}.jwksUri`, 'is not a URL');
  const payload = text(rule['outputPayloadToHeader']).toLowerCase();
  const timeout = duration(rule['timeout'], `${field}.timeout`, notes);
  return {
    issuer,
    audiences: texts(rule['audiences']),
    ...(jwks !== undefined && jwks !== '' ? { jwks } : jwksUri === undefined ? {} : { jwksUri }),
    from: {
      headers: list(rule['fromHeaders']).map((item) => ({
        name: text(record(item)['name']).toLowerCase(),
        prefix: text(record(item)['prefix']),
      })),
      params: texts(rule['fromParams']),
      cookies: texts(rule['fromCookies']),
    },
    ...(payload === '' ? {} : { outputPayloadToHeader: payload }),
    outputClaimToHeaders: list(rule['outputClaimToHeaders']).map((item) => ({
      header: text(record(item)['header']).toLowerCase(),
      claim: text(record(item)['claim']),
    })),
    forwardOriginalToken: rule['forwardOriginalToken'] === true,
    timeoutMs: timeout ?? 5000,
    spaceDelimitedClaims: texts(rule['spaceDelimitedClaims']),
  };
}

export function translateRequestAuthentication(facts: SpecFacts, lookup: Lookup): Translation {
  const refs = readTargets(facts.spec);
  const notes = new Notes();
  if (refs.length === 0) {
    const reason =
      'has no targetRefs: tokens are checked by waypoints, which only take policies that name what they are for';
    return { ...emptyTranslation, conditions: validCondition([{ field: 'spec', reason }]) };
  }
  const rules = list(facts.spec['jwtRules']).map((rule, i) =>
    jwtRule(record(rule), `spec.jwtRules[${i}]`, notes),
  );
  const { targets, gateways } = attach(refs, facts.namespace, lookup);
  const name = `${facts.namespace}/${facts.name}`;
  const condition = targetCondition({ ...facts, targets: refs }, lookup);
  if (notes.problems.length === 0)
    return {
      records: [],
      conditions: [condition],
      problems: [],
      waypoint: recordFor(gateways, () => ({ kind: 'request-authentication', name, targets, rules })),
    };
  const refusal: readonly WaypointRecord[] = recordFor(gateways, () => ({
    kind: 'http-policy',
    // No policy can have this name.
    name: `${name} (RequestAuthentication)`,
    targets,
    action: 'Deny',
    rules: [{ from: [], to: [], when: [] }],
    dryRun: false,
  }));
  const message = `${describeProblems(notes.problems)}. Until this is corrected, requests to what it is for are refused`;
  return {
    records: [],
    conditions: [{ ...condition, status: false, reason: 'UnsupportedValue', message }],
    problems: notes.problems,
    waypoint: refusal,
  };
}

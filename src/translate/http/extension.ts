// Extension (extensions.aura.io) → extension. Its module stands in the object or in a ConfigMap of its namespace. One
// that cannot be read refuses what it is for, unless it may be skipped anyway.
import { extensionPhases, type Extension } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { optionalText, record, text } from '../read.ts';
import type { Translation } from '../translation.ts';
import { attach, readTargets } from './attachment.ts';
import { acceptedCondition } from './own-status.ts';
import type { SpecFacts } from './spec-facts.ts';
import { duration, Notes } from './values.ts';
import { recordFor } from './waypoint-record.ts';

/** Of source text. */
const longestModule = 512 * 1024;

function moduleText(facts: SpecFacts, lookup: Lookup, notes: Notes): string {
  const inline = optionalText(facts.spec['module']);
  if (inline !== undefined) return inline;
  const ref = record(record(facts.spec['moduleFrom'])['configMapKeyRef']);
  const name = text(ref['name']);
  const key = text(ref['key']);
  if (name === '' || key === '') {
    notes.add('spec.module', 'is missing, and moduleFrom names no key of a ConfigMap');
    return '';
  }
  const map = lookup.configMap(facts.namespace, name);
  const found = map?.data[key];
  if (found === undefined)
    notes.add(
      'spec.moduleFrom',
      `ConfigMap ${facts.namespace}/${name} ${map === undefined ? 'was not found' : `has no key "${key}"`}`,
    );
  return found ?? '';
}

export function translateExtension(facts: SpecFacts, lookup: Lookup): Translation {
  const { spec } = facts;
  const notes = new Notes();
  const refs = readTargets(spec);
  const { targets, gateways } = attach(refs, facts.namespace, lookup);
  if (refs.length === 0) notes.add('spec.targetRefs', 'is empty');
  const module = moduleText(facts, lookup, notes);
  if (module.length > longestModule) notes.add('spec.module', `is longer than ${longestModule} characters`);
  const phase = extensionPhases.find((one) => one === (spec['phase'] ?? 'UNSPECIFIED'));
  if (phase === undefined) notes.add('spec.phase', `is not one of ${extensionPhases.join(', ')}`);
  const { priority, memoryMb } = spec;
  const name = `${facts.namespace}/${facts.name}`;
  const skip = spec['onFailure'] === 'Skip';
  const extension: Extension = {
    kind: 'extension',
    name,
    targets,
    phase: phase ?? 'UNSPECIFIED',
    priority: typeof priority === 'number' && Number.isSafeInteger(priority) ? priority : 0,
    module,
    language: spec['language'] === 'JavaScript' ? 'javascript' : 'typescript',
    config: spec['config'] ?? null,
    onFailure: skip ? 'skip' : 'refuse',
    timeoutMs: duration(spec['timeout'], 'spec.timeout', notes) ?? 100,
    memoryMb: typeof memoryMb === 'number' && Number.isSafeInteger(memoryMb) && memoryMb > 0 ? memoryMb : 64,
  };
  const meanwhile = skip
    ? 'Until this is corrected, requests pass without it'
    : 'Until this is corrected, requests to what it is for are refused';
  return {
    records: [],
    conditions: [acceptedCondition(facts, refs, notes.problems, meanwhile, lookup)],
    problems: notes.problems,
    waypoint:
      notes.problems.length === 0
        ? recordFor(gateways, () => extension)
        : skip
          ? []
          : recordFor(gateways, () => ({
              kind: 'http-policy',
              name: `${name} (Extension)`,
              targets,
              action: 'Deny',
              rules: [{ from: [], to: [], when: [] }],
              dryRun: false,
            })),
  };
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeRequest, parseFamilies, parseNodes, type LabConfig } from './lab-config.ts';

const lab: LabConfig = { version: 1, nodes: 3, families: ['IPv4'], mesh: { enabled: true }, apiPort: 4000 };

test('a new lab has three nodes, IPv4 and the mesh', () => {
  assert.deepEqual(mergeRequest(undefined, {}, 4000), lab);
});

test('a lab that exists keeps what is not asked to change', () => {
  assert.deepEqual(mergeRequest(lab, {}, 1), lab);
  const mesh = { enabled: true, ztunnel: '/opt/ztunnel' };
  assert.deepEqual(mergeRequest(lab, { mesh, nodes: 3 }, 1), { ...lab, mesh });
});

test('another shape needs another lab, and the error says what to do', () => {
  assert.throws(() => mergeRequest(lab, { nodes: 2 }, 1), /has 3 nodes, not 2: run 'aura lab down' first/);
  assert.throws(() => mergeRequest(lab, { families: ['IPv6'] }, 1), /speaks IPv4: run 'aura lab down' first/);
});

test('options are read strictly', () => {
  assert.deepEqual(parseFamilies('dual'), ['IPv4', 'IPv6']);
  assert.throws(() => parseFamilies('both'), /choose ipv4, ipv6 or dual/);
  assert.equal(parseNodes('16'), 16);
  for (const bad of ['0', '17', '1.5', 'x', '']) assert.throws(() => parseNodes(bad), /from 1 to 16/);
});

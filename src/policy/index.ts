// policy: verdicts. Owns what an L4 authorization policy means: which connections it matches, in which order
// policies are asked, and the words of a refusal. Imports kit, errors and model. Must not know where policies are
// stored, who a workload is, or what becomes of a refused connection.
export * from './compile.ts';
export * from './decide.ts';
export * from './explain.ts';
export * from './http/index.ts';
export * from './policy-set.ts';
export * from './subject.ts';

// Lint rules. The restrictions on imports are generated from floors.ts, the drawing of the house.
import { defineConfig } from 'oxlint';
import { floors, ioOwners } from './floors.ts';

const rooms = floors.flatMap((floor, level) =>
  floor.rooms.map((room) => ({ room, level, apart: floor.apart === true })),
);

// The door rule stands last: its negated pattern ends the search for an import that it lets through.
const restrictions = (self: (typeof rooms)[number]) => [
  {
    regex: `^(\\.\\./)+(${rooms.map((r) => r.room).join('|')})/`,
    message: 'another room is imported as #/room/index.ts, not by a relative path',
  },
  ...rooms
    .filter(
      (other) =>
        other.room !== self.room && (other.level > self.level || (other.level === self.level && self.apart)),
    )
    .map((other) => ({
      regex: `^#/${other.room}/`,
      message: `${self.room} (floor ${self.level}) may not import ${other.room} (floor ${other.level}): imports go downwards, see floors.ts`,
    })),
  ...Object.entries(ioOwners)
    .filter(([, owner]) => !owner.rooms.includes(self.room))
    .map(([module, owner]) => ({
      regex: `^${module}$`,
      message: `${self.room} may not import ${module}: ${owner.why}`,
    })),
  {
    group: ['#/*/*', '!#/*/index.ts', `!#/${self.room}/*`, '!#/wire/gen'],
    message: 'a room is entered by its index.ts, as #/room/index.ts; inside a room use ./file.ts',
  },
];

export default defineConfig({
  plugins: ['typescript', 'import', 'unicorn', 'oxc', 'promise'],
  categories: { correctness: 'error' },
  rules: {
    'import/no-cycle': 'error',
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    'typescript/no-explicit-any': 'error',
    'typescript/no-unnecessary-type-assertion': 'error',
    'typescript/consistent-type-imports': 'error',
    'eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    'eslint/eqeqeq': 'error',
    'eslint/no-console': 'error',
    'eslint/prefer-const': 'error',
    'typescript/unbound-method': 'off',
    'typescript/restrict-template-expressions': 'off',
    'typescript/no-base-to-string': 'off',
  },
  overrides: [
    ...rooms.map((self) => ({
      files: [`src/${self.room}/**/*.ts`],
      excludeFiles: [`src/${self.room}/**/*.test.ts`],
      rules: { 'eslint/no-restricted-imports': ['error', { patterns: restrictions(self) }] as never },
    })),
    {
      files: ['src/**/*.test.ts', 'test/**/*.ts', 'bench/**/*.ts', 'fuzz/**/*.ts', 'scripts/**/*.ts'],
      rules: {
        'eslint/no-console': 'off',
        'typescript/no-floating-promises': [
          'error',
          {
            allowForKnownSafeCalls: [
              {
                from: 'package',
                package: 'node:test',
                name: ['test', 'it', 'describe', 'suite', 'before', 'after', 'beforeEach', 'afterEach'],
              },
            ],
          },
        ] as never,
      },
    },
    { files: ['src/cli/**/*.ts'], rules: { 'eslint/no-console': 'off' } },
  ],
  ignorePatterns: ['src/wire/gen/**'],
});

// The fake twin of runCommand: records what was asked, answers what the test says.
import type { CommandOptions, CommandResult, RunCommand } from './command.ts';

export interface FakeCommands {
  readonly run: RunCommand;
  readonly calls: { readonly argv: readonly string[]; readonly options: CommandOptions }[];
}

/** `answer` gives what differs from a silent success, or throws what `run` is to reject with. */
export function fakeCommands(
  answer: (argv: readonly string[], options: CommandOptions) => Partial<CommandResult> = () => ({}),
): FakeCommands {
  const calls: FakeCommands['calls'] = [];
  return {
    calls,
    run: async (argv, options = {}) => {
      calls.push({ argv: [...argv], options });
      return { code: 0, stdout: '', stderr: '', ...answer(argv, options) };
    },
  };
}

// Work that is put off to the end of this turn of the event loop, so that what many sockets produced in one
// turn goes out in one write each.

export interface TurnTask {
  endOfTurn(): void;
}

let tasks: TurnTask[] = [];

/** The caller makes sure that it asks once per turn. */
export function atEndOfTurn(task: TurnTask): void {
  tasks.push(task);
  if (tasks.length === 1) setImmediate(run);
}

function run(): void {
  const due = tasks;
  tasks = [];
  let at = 0;
  try {
    while (at < due.length) (due[at++] as TurnTask).endOfTurn();
  } finally {
    // One that throws must not take the turn of the others, who would never ask again.
    for (; at < due.length; at++) atEndOfTurn(due[at] as TurnTask);
  }
}

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
  for (const task of due) task.endOfTurn();
}

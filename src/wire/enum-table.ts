// The names of an enum on our side and its numbers on the wire, both ways. Proto3 enums are open: any number can
// arrive, and one that has no name here is a fault.
import { fault } from './wire-error.ts';

export interface EnumTable<T extends string, N extends number> {
  /** Throws a fault if the number has no name. */
  name(field: string, value: number): T;
  number(field: string, name: T): N;
}

export function enumTable<T extends string, N extends number>(
  numbers: Readonly<Record<T, N>>,
): EnumTable<T, N> {
  const names: T[] = [];
  for (const name of Object.keys(numbers) as T[]) names[numbers[name]] = name;
  return {
    name(field, value) {
      const name = names[value];
      if (name === undefined) throw fault(field, `unknown value ${value}`);
      return name;
    },
    number(field, name) {
      const value = numbers[name] as N | undefined;
      if (value === undefined) throw fault(field, `unknown name ${name}`);
      return value;
    },
  };
}

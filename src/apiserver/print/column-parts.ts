// What most columns are made of.
import { dig, digList, digNumber, digText, isObject, type Item, type JsonObject } from '../json.ts';
import type { Column } from '../kinds/kind.ts';
import { formatSelector, parseSelectorObject } from '../store/selectors.ts';
import { formatAge } from './age.ts';

export type Cell = string | number | boolean | null;
export type Value = (item: Item, now: number) => Cell;

export const column = (name: string, value: Value, priority = 0, type = 'string'): Column => ({
  name,
  type: name === 'Age' ? 'string' : type,
  ...(name === 'Name' ? { format: 'name' } : {}),
  ...(priority === 0 ? {} : { priority }),
  value,
});
export const wide = (name: string, value: Value): Column => column(name, value, 1);

export const name = column('Name', (item) => item.metadata.name);
export const age = column('Age', (item, now) => formatAge(item.metadata.creationTimestamp, now));
export const text =
  (...path: string[]): Value =>
  (item) =>
    digText(item, ...path);
export const number =
  (...path: string[]): Value =>
  (item) =>
    digNumber(item, ...path);
export const none = (value: string): string => (value === '' ? '<none>' : value);
export const selector =
  (...path: string[]): Value =>
  (item) =>
    none(formatSelector(parseSelectorObject(dig(item, ...path))));
export const map =
  (...path: string[]): Value =>
  (item) => {
    const found = dig(item, ...path);
    return isObject(found)
      ? none(
          Object.entries(found)
            .map(([key, value]) => `${key}=${String(value)}`)
            .sort()
            .join(','),
        )
      : '<none>';
  };
export const count =
  (...path: string[]): Value =>
  (item) => {
    const found = dig(item, ...path);
    return Array.isArray(found) ? found.length : isObject(found) ? Object.keys(found).length : 0;
  };

export const containers = (item: Item, ...path: string[]): JsonObject[] =>
  digList(item, ...path).filter(isObject);
export const containerNames =
  (...path: string[]): Value =>
  (item) =>
    containers(item, ...path)
      .map((container) => digText(container, 'name'))
      .join(',');
export const containerImages =
  (...path: string[]): Value =>
  (item) =>
    containers(item, ...path)
      .map((container) => digText(container, 'image'))
      .join(',');
export const template = ['spec', 'template', 'spec', 'containers'];
export const templateColumns = [
  wide('Containers', containerNames(...template)),
  wide('Images', containerImages(...template)),
  wide('Selector', selector('spec', 'selector')),
];

// What an image stands for. Containers run the machine's own programs, so an image matters only where a pod gives
// no command: then it must be one of ours. Pure.
import type { Container } from '#/kube/index.ts';

const sleep = ['sleep', 'infinity'];

/** The command of an image, by its name without registry, tag and digest; undefined for images not of ours. */
export function imageCommand(image: string, aura: string): readonly string[] | undefined {
  const name = image.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
  switch (name) {
    case 'aura/httpbin':
      return [aura, 'lab-app', 'httpbin'];
    case 'aura/bookinfo-productpage':
    case 'aura/bookinfo-details':
    case 'aura/bookinfo-reviews':
    case 'aura/bookinfo-ratings':
      return [aura, 'lab-app', 'bookinfo', name.slice('aura/bookinfo-'.length)];
    case 'aura/echo':
      return [aura, 'lab-app', 'echo'];
    case 'aura/debug':
      return sleep;
    case 'aura/aura':
      return [aura];
    default:
      return /(?:^|\/)pause$/.test(name) ? sleep : undefined;
  }
}

/** The words to run. Undefined if neither the pod nor the image says what. */
export function containerCommand(container: Container, aura: string): readonly string[] | undefined {
  const { command = [], args = [], image = '' } = container;
  if (command.length > 0) return [...command, ...args];
  const own = imageCommand(image, aura);
  return own === undefined ? undefined : [...own, ...args];
}

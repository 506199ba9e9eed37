// Kinds that CustomResourceDefinitions make.
import type { ControllerDeps } from '../controllers/namespaces.ts';
import type { Schema } from '../schema/schema.ts';

export class CustomKinds {
  constructor(_deps: ControllerDeps, _types: ReadonlyMap<string, Schema>) {}

  start(): Promise<void> {
    return Promise.resolve();
  }
}

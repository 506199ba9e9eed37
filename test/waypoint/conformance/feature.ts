// One feature of the Gateway API's conformance suite, with what it needs and its tests.
import type { ConformanceLab } from './conformance-lab.ts';

export interface Feature {
  /** As the suite and the GatewayClass name it. */
  readonly name: string;
  /** Applied before any test runs. */
  readonly manifest: string;
  /** Declares the tests. */
  readonly tests: (lab: ConformanceLab) => void;
}

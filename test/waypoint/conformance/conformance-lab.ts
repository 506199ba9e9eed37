// The lab of the conformance tests: a waypoint, clients that take orders, and what answers and statuses should be.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { EchoReport } from '#/lab/index.ts';
import { aura, eventually, TestLab } from '../../lab/test-lab.ts';
import { away, backends, mesh, type RouteKind } from './backends.ts';
import type { Answer, Order } from './orders.ts';

/** What is not named does not matter; undefined among headers: there must be none of that name. */
export interface Expected {
  readonly status?: number;
  readonly version?: string;
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly protocol?: string;
  /** That the backend saw. */
  readonly seen?: Readonly<Record<string, string | undefined>>;
  /** Of the response. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

export interface ParentStatus {
  readonly parentRef: Readonly<Record<string, unknown>>;
  readonly controllerName: string;
  readonly conditions: readonly Condition[];
}

export interface RouteObject {
  readonly metadata: { readonly generation: number };
  readonly status?: { readonly parents?: readonly ParentStatus[] };
}

const answerLimitMs = 40_000;

class Client {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answers: readonly Answer[]) => void>();
  #last = 0;
  #said = '';

  constructor(env: Readonly<Record<string, string>>, namespace: string) {
    const program = resolve(import.meta.dirname, 'client.ts');
    this.#child = spawn(
      aura,
      ['lab', 'exec', '-n', namespace, 'deploy/client', '--', process.execPath, program],
      { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] },
    );
    this.#child.stderr?.on('data', (data: Buffer) => (this.#said += data.toString()));
    this.#child.stdin?.on('error', () => {});
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const { id, answers } = JSON.parse(line) as { id: number; answers: readonly Answer[] };
      this.#waiting.get(id)?.(answers);
      this.#waiting.delete(id);
    });
  }

  ask(order: Order): Promise<readonly Answer[]> {
    const id = ++this.#last;
    return new Promise((done, fail) => {
      const timer = setTimeout(
        () => fail(new Error(`no answer to ${JSON.stringify(order)}: ${this.#said}`)),
        answerLimitMs,
      );
      this.#waiting.set(id, (answers) => {
        clearTimeout(timer);
        done(answers);
      });
      this.#child.stdin?.write(`${JSON.stringify({ id, ...order })}\n`);
    });
  }

  end(): void {
    this.#child.stdin?.end();
    this.#child.kill();
  }
}

export const reportOf = ({ body }: Answer): EchoReport => JSON.parse(body) as EchoReport;

function assertHeaders(
  headers: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string | undefined>>,
  whose: string,
): void {
  for (const [name, value] of Object.entries(wanted))
    assert.equal(headers[name], value, `${whose} header ${name}`);
}

export function assertAnswer(answer: Answer, expected: Expected): void {
  const { status = 200, version, method, path, host, protocol, seen, headers, body } = expected;
  assert.equal(
    answer.status,
    status,
    `status; headers ${JSON.stringify(answer.headers)}, body ${answer.body}`,
  );
  if (version !== undefined) assert.equal(answer.headers['x-version'], version, 'the version that answered');
  if (headers !== undefined) assertHeaders(answer.headers, headers, 'response');
  if (body !== undefined) assert.equal(answer.body, body);
  const wanted = { method, path, host, protocol };
  if (Object.values(wanted).every((value) => value === undefined) && seen === undefined) return;
  const report = reportOf(answer);
  for (const [name, value] of Object.entries(wanted))
    if (value !== undefined)
      assert.equal(report[name as keyof typeof wanted], value, `${name} at the backend`);
  if (seen !== undefined) assertHeaders(report.headers, seen, 'request');
}

export class ConformanceLab implements AsyncDisposable {
  readonly lab = new TestLab();
  readonly #clients = new Map<string, Client>();
  #marks = 0;

  async start(manifest: string): Promise<void> {
    const { lab } = this;
    await lab.up('--nodes', '2', '-f', lab.file('all.yaml', backends + manifest));
    await lab.must('waypoint', 'apply', '-n', mesh, '--enroll-namespace', '--wait');
    for (const namespace of [mesh, away]) this.#clients.set(namespace, new Client(lab.env, namespace));
    await this.expect({ url: 'http://echo/' }, {}, (answer) =>
      assert.ok('x-request-id' in reportOf(answer).headers, 'it should go through the waypoint'),
    );
  }

  /** `from`: the namespace of the client. */
  async all(order: Order, from = mesh): Promise<readonly Answer[]> {
    const client = this.#clients.get(from);
    assert.ok(client !== undefined, `there is no client in ${from}`);
    return client.ask(order);
  }

  async one(order: Order, from = mesh): Promise<Answer> {
    const [answer] = await this.all(order, from);
    return answer as Answer;
  }

  /** Asks until the answer is as expected: what was applied takes a moment to get there. */
  async expect(
    order: Order,
    expected: Expected,
    more: (answer: Answer) => void = () => {},
    from = mesh,
  ): Promise<Answer> {
    return eventually(
      `${order.method ?? 'GET'} ${order.url}`,
      async () => {
        const answer = await this.one(order, from);
        assertAnswer(answer, expected);
        more(answer);
        return answer;
      },
      20_000,
    );
  }

  /** How many of `count` requests each version answered, once `ready` holds for a first one. */
  async shares(order: Order, count: number): Promise<Readonly<Record<string, number>>> {
    const shares: Record<string, number> = {};
    for (const answer of await this.all({ ...order, count })) {
      const version = answer.headers['x-version'] ?? `status ${answer.status}`;
      shares[version] = (shares[version] ?? 0) + 1;
    }
    return shares;
  }

  /** A word that no other test uses. */
  mark(): string {
    return `mark-${++this.#marks}`;
  }

  /** What the backends of a version remember under a mark. */
  async recall(mark: string, version: 'v1' | 'v2'): Promise<readonly EchoReport[]> {
    const url = `http://echo-${version}/`;
    const { body } = await this.one({ url, headers: { 'x-echo-recall': mark } });
    return JSON.parse(body) as EchoReport[];
  }

  async get(kind: RouteKind, name: string, namespace = mesh): Promise<RouteObject> {
    const text = await this.lab.mustKubectl(['get', kind, name, '-n', namespace, '-o', 'json']);
    return JSON.parse(text) as RouteObject;
  }

  /** The status for one parent, by the parent's name, when all the conditions named are as wanted. */
  async expectStatus(
    kind: RouteKind,
    name: string,
    parent: string,
    wanted: Readonly<Record<string, `${'True' | 'False'} ${string}`>>,
    namespace = mesh,
  ): Promise<ParentStatus> {
    return eventually(`the status of ${kind} ${name} for ${parent}`, async () => {
      const { metadata, status } = await this.get(kind, name, namespace);
      const found = status?.parents?.find(({ parentRef }) => parentRef['name'] === parent);
      assert.ok(found !== undefined, `no status for ${parent}: ${JSON.stringify(status)}`);
      for (const [type, value] of Object.entries(wanted)) {
        const condition: Condition | undefined = found.conditions.find((one) => one.type === type);
        assert.equal(`${condition?.status} ${condition?.reason}`, value, `${type}: ${condition?.message}`);
        assert.equal(condition?.observedGeneration, metadata.generation, `observedGeneration of ${type}`);
      }
      return found;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients.values()) client.end();
    return this.lab[Symbol.asyncDispose]();
  }
}

// The access logs of one target: providers, filters and formats put together.
import type { Provider, WaypointMesh } from '#/model/index.ts';
import { compileAccessFilter, type AccessFilter } from './access-filter.ts';
import { compileMeshFormat } from './default-formats.ts';
import { meshAccessLog, type EffectiveTelemetry } from './effective-telemetry.ts';
import type { AnyRecord } from './exchange-record.ts';
import { compileJsonFormat, compileTextFormat, type LogFormat } from './log-format.ts';
import type { LogSurroundings } from './log-operators.ts';

export interface AccessLogs {
  /** Gives a line, without the line break, and the file it is for, to `write`; none or several. */
  log(record: AnyRecord, write: (path: string, line: string) => void): void;
  readonly problems: readonly string[];
}

type MeshFormat = Pick<WaypointMesh, 'accessLogFile' | 'accessLogFormat' | 'accessLogEncoding'>;

/** Upstream has this provider without being told of it: standard output in the mesh's format. */
const builtIn = 'envoy';
const standardOutput = '/dev/stdout';

interface Log {
  readonly path: string;
  readonly format: LogFormat;
  readonly filter: AccessFilter;
}

function destination(
  name: string,
  provider: Provider | undefined,
  mesh: MeshFormat,
  around: LogSurroundings,
): Omit<Log, 'filter'> | string {
  if (name === meshAccessLog) return { path: mesh.accessLogFile, format: compileMeshFormat(mesh, around) };
  if (provider === undefined)
    return name === builtIn
      ? { path: standardOutput, format: compileMeshFormat(mesh, around) }
      : `provider "${name}" is not known: define it under extensionProviders of MeshConfig`;
  if (provider.type !== 'file-access-log')
    return `provider "${name}" of type ${provider.type} does not write access logs`;
  const path = provider.path === '' ? standardOutput : provider.path;
  if (provider.labels !== undefined) return { path, format: compileJsonFormat(provider.labels, around) };
  if (provider.text !== undefined && provider.text !== '')
    return { path, format: compileTextFormat(provider.text, around) };
  const own = { accessLogFormat: '', accessLogEncoding: 'TEXT' } as const;
  return { path, format: compileMeshFormat(name === builtIn ? mesh : own, around) };
}

/** Compiled once per change of configuration. */
export function compileAccessLogs(
  { accessLogs }: Pick<EffectiveTelemetry, 'accessLogs'>,
  providers: ReadonlyMap<string, Provider>,
  mesh: MeshFormat,
  around: LogSurroundings = {},
): AccessLogs {
  const logs: Log[] = [];
  const problems: string[] = [];
  for (const { provider, filter: expression } of accessLogs) {
    const found = destination(provider, providers.get(provider), mesh, around);
    if (typeof found === 'string') {
      problems.push(found);
      continue;
    }
    const filter = compileAccessFilter(expression);
    const whose = provider === meshAccessLog ? 'accessLogFormat' : `provider "${provider}"`;
    problems.push(...found.format.problems.map((problem) => `${whose}: ${problem}`));
    if (filter.problem !== undefined) problems.push(filter.problem);
    logs.push({ ...found, filter });
  }
  return {
    problems,
    log: (record, write) => {
      for (const { path, format, filter } of logs)
        if (filter.matches(record)) write(path, format.line(record));
    },
  };
}

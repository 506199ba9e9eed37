// The shell script that starts one container: it enters the container's cgroup, hides and mounts what the pod
// should not or should see, runs the command on the machine's own files, and writes down how it ended. The script
// stays as the command's parent, so a pod and its logs outlive the lab's own process. Pure: data to text.
import { dirname } from 'node:path';
import { shellQuote, toolPath } from '../command.ts';

export interface BindMount {
  readonly source: string;
  /** Absolute, inside the container. It need not exist on the machine. */
  readonly target: string;
  readonly kind: 'folder' | 'file';
  readonly readOnly: boolean;
}

export interface StartPlan {
  /** For the reader of the script: `namespace/pod/container`. */
  readonly title: string;
  /** Where `pid`, `exit` and `error` are written, and `log` appended. */
  readonly dir: string;
  readonly cgroup: string;
  readonly netns: string;
  readonly hostname: string;
  /** An empty folder for a root of our own, used only if a mount point lacks even its first folder. */
  readonly rootDir: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly mounts: readonly BindMount[];
}

const prelude = `umask 022
fail() { printf '%s\\n' "$*" > error; exit 125; }
step() { said=$("$@" 2>&1) || fail "$said"; }
# A folder (d) or file (f) to mount on, made without a trace on the machine: below /run, which is ours, as it is;
# elsewhere on an overlay of the nearest folder that exists.
ours=/run
ensure() {
  [ -e "$root$2" ] && return
  near=$2
  while [ ! -e "$root$near" ]; do near=\${near%/*}; done
  if [ "$near" != "" ]; then
    case " $ours " in *" $near "*) ;; *)
      case "$near" in /run/*) ;; *)
        scratch=$(mktemp -d /run/.overlay.XXXXXX) && mkdir "$scratch/up" "$scratch/work" || fail "no folder for $2"
        step mount -t overlay -o "lowerdir=$root$near,upperdir=$scratch/up,workdir=$scratch/work" overlay "$root$near"
        ours="$ours $near" ;;
      esac ;;
    esac
  fi
  if [ "$1" = d ]; then step mkdir -p "$root$2"; else step mkdir -p "$root\${2%/*}"; step touch "$root$2"; fi
}
# A root made of the machine's top folders, for a mount point such as /data: nothing may be made in / itself.
own_root() {
  step mount -t tmpfs -o mode=0755,size=1m tmpfs "$1"
  for entry in /*; do
    if [ -L "$entry" ]; then step ln -s "$(readlink "$entry")" "$1$entry"
    elif [ "$entry" = /run ]; then step mkdir "$1/run"; step mount --bind /run "$1/run"
    elif [ -d "$entry" ]; then step mkdir "$1$entry"; step mount --rbind "$entry" "$1$entry"
    else : > "$1$entry"; step mount --bind "$entry" "$1$entry"; fi
  done
  root=$1
}
`;

/** First folder of a path: `/data` for `/data/cache`. */
const topOf = (path: string): string => `/${path.split('/')[1] ?? ''}`;

/** Deeper targets after the folders they lie in. */
const byDepth = (a: BindMount, b: BindMount): number =>
  a.target.split('/').length - b.target.split('/').length || (a.target < b.target ? -1 : 1);

/** Where sources wait that would be hidden before it is their turn. */
const sources = '/run/.sources';
const sourceAt = (i: number): string => `${sources}/${i}`;

export function renderStartScript(plan: StartPlan): string {
  const q = shellQuote;
  const lines: string[] = [
    '#!/bin/sh',
    `# ${plan.title}`,
    `cd ${q(plan.dir)} || exit 125`,
    prelude,
    `step hostname ${q(plan.hostname)}`,
    // Hidden: other programs' sockets, and everything of the lab that is not this pod's.
    'step mount -t tmpfs -o mode=0755,size=64m tmpfs /run',
    '[ /var/run -ef /run ] || step mount --bind /run /var/run',
    'root=',
  ];
  // /var/run is a link to /run, or made the same above: one name, so that nothing is mounted twice or hidden.
  const mounts = plan.mounts
    .map((mount) => ({ ...mount, target: mount.target.replace(/^\/var\/run(?=\/|$)/, '/run') }))
    .sort(byDepth);
  const tops = [...new Set(mounts.map(({ target }) => topOf(target)))].filter((top) => top !== '/run');
  if (tops.length > 0) {
    const missing = tops.map((top) => `[ ! -e ${q(top)} ]`).join(' || ');
    lines.push(`if ${missing}; then own_root ${q(plan.rootDir)}; fi`);
  }
  // What is mounted on a folder may hide where later mounts come from, as /tmp does if the lab lives there.
  const early = mounts.map(({ source }) => tops.includes(topOf(source)));
  mounts.forEach(({ source, kind }, i) => {
    if (!early[i]) return;
    lines.push(
      kind === 'folder' ? `step mkdir -p ${sourceAt(i)}` : `mkdir -p ${sources} && : > ${sourceAt(i)}`,
      `step mount --bind ${q(source)} ${sourceAt(i)}`,
    );
  });
  // All the mount points first: an overlay hides what was mounted below it.
  const nested = (target: string): boolean => mounts.some((other) => target.startsWith(`${other.target}/`));
  for (const { target, kind } of mounts) {
    const isResolv = target === '/etc/resolv.conf';
    // Often a link into /run, which is empty now.
    if (isResolv) lines.push('resolv=$(readlink -m /etc/resolv.conf)');
    if (nested(target)) continue;
    if (isResolv) lines.push('ensure f "$resolv"');
    else lines.push(`ensure ${kind === 'folder' ? 'd' : 'f'} ${q(target)}`);
  }
  for (const [i, { source, target, kind, readOnly }] of mounts.entries()) {
    const at = target === '/etc/resolv.conf' ? '"$root$resolv"' : `"$root"${q(target)}`;
    // A mount point inside another volume is made in that volume, as runtimes do.
    if (nested(target))
      lines.push(
        kind === 'folder'
          ? `step mkdir -p ${at}`
          : `[ -e ${at} ] || { step mkdir -p "$root"${q(dirname(target))}; step touch ${at}; }`,
      );
    lines.push(`step mount --bind ${early[i] ? sourceAt(i) : q(source)} ${at}`);
    if (early[i]) lines.push(`step umount ${sourceAt(i)}`);
    if (readOnly) lines.push(`step mount -o remount,bind,ro ${at}`);
  }
  if (early.includes(true)) lines.push(`step rm -r ${sources}`);
  const env = Object.entries({ PATH: toolPath, HOME: '/root', HOSTNAME: plan.hostname, ...plan.env });
  const words = env.map(([name, value]) => q(`${name}=${value}`));
  lines.push(
    `run() {`,
    // A shell in the background has SIGINT and SIGQUIT ignored, which a program would inherit.
    `  exec \${root:+chroot "$root"} env -i --default-signal=INT,QUIT,TERM,HUP ${q(`--chdir=${plan.workingDir}`)} ${words.join(' ')} ${plan.argv.map(q).join(' ')}`,
    '}',
    // Caught, not ignored: the command gets the default back.
    'trap : HUP INT TERM',
    'run </dev/null >>log 2>&1 &',
    'echo $! > pid',
    'while :; do wait $!; code=$?; kill -0 $! 2>/dev/null || break; done',
    'echo "$code $(date +%s)" > exit.new && mv exit.new exit',
  );
  return `${lines.join('\n')}\n`;
}

/** What the lab runs: into the cgroup first, so that nothing of the pod is ever outside it. */
export function startArgv(plan: StartPlan, script: string): string[] {
  return [
    '/bin/sh',
    '-c',
    `echo $$ > ${shellQuote(`${plan.cgroup}/cgroup.procs`)} && exec nsenter ${shellQuote(`--net=${plan.netns}`)} -- ` +
      `unshare --mount --uts --propagation slave -- /bin/sh ${shellQuote(script)}`,
  ];
}

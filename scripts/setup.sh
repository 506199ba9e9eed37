#!/bin/sh
# Makes a fresh clone ready to run: the locked npm packages, among them Node 26, and the Debian packages that the
# lab and the tests call. Prints nothing when all is there. Run by npm before demo, test and bench.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

# --- Debian packages: named by a command (or file) that each one brings.
wanted='iptables iptables
ip iproute2
ipset ipset
nft nftables
/usr/lib/cni/bridge containernetworking-plugins
tcpdump tcpdump
curl curl
nsenter util-linux
unshare util-linux
script bsdutils
ps procps
openssl openssl
kubectl kubernetes-client'
# `setup.sh bench`: what the benches call besides.
[ "${1-}" != bench ] || wanted="$wanted
iperf3 iperf3
wrk wrk"
# The benches have their own load generators, which nothing else needs.
[ "${npm_lifecycle_event-}" != prebench ] || wanted="$wanted
iperf3 iperf3
wrk wrk"
PATH=$PATH:/usr/sbin:/sbin
missing=$(echo "$wanted" | while read -r what package; do
  case $what in
    /*) [ -x "$what" ] || echo "$package" ;;
    *) command -v "$what" >/dev/null 2>&1 || echo "$package" ;;
  esac
done | sort -u)
# Without the bridge's filter in the kernel it must be loaded, by modprobe.
[ -e /proc/sys/net/bridge ] || command -v modprobe >/dev/null 2>&1 || missing=$(printf '%s\nkmod' "$missing")
# The locked Node is linked with libatomic, which a small Debian does not have.
atomic=
for file in /usr/lib/*/libatomic.so.1 /usr/lib*/libatomic.so.1 /lib/*/libatomic.so.1; do
  [ -e "$file" ] && atomic=$file
done
[ -n "$atomic" ] || missing=$(printf '%s\nlibatomic1' "$missing")
missing=$(echo $missing)
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null 2>&1 || die "install these (Debian's package names), then try again: $missing"
  [ "$(id -u)" = 0 ] || die "as root, install what is missing, then try again: apt-get install $missing"
  say "installing with apt: $missing"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  export DEBIAN_FRONTEND=noninteractive
  apt_install() { apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1; }
  # Package lists may be absent or stale: then they are fetched, and the install is tried once more.
  apt_install || { apt-get update -q >"$log" 2>&1 && apt_install; } || {
    tail -n 20 "$log" >&2
    die "apt could not install: $missing"
  }
fi

# --- npm packages: what is installed is compared with the lock, so that a clone that is ready costs no npm run.
node_bin=node_modules/node/bin/node
locked() {
  [ -f node_modules/.package-lock.json ] && "$1" -e '
    const read = (f) => JSON.parse(require("fs").readFileSync(f, "utf8")).packages;
    const want = read("package-lock.json"), have = read("node_modules/.package-lock.json");
    for (const [path, p] of Object.entries(want))
      if (path !== "" && !p.optional && !p.link && have[path]?.version !== p.version) process.exit(1);
  ' 2>/dev/null
}
any_node=$(command -v node || true)
[ -x "$node_bin" ] && any_node=$PWD/$node_bin
[ -n "$any_node" ] || die "install Node.js 20 or newer with npm (https://nodejs.org), then try again"
if ! locked "$any_node"; then
  command -v npm >/dev/null 2>&1 || die "install npm (https://nodejs.org), then try again"
  say "installing the locked npm packages"
  # A registry that lacks packages for other systems makes `npm ci` refuse; `install` keeps to the lock as well.
  log=$(mktemp)
  npm ci --no-audit --no-fund --loglevel=error >"$log" 2>&1 ||
    npm install --no-save --no-audit --no-fund --loglevel=error >>"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "npm could not install the locked packages, see above"
  }
  rm -f "$log"
fi
# Newer npm does not run install scripts that are not allowed one by one; Node's own one fetches the binary.
if [ ! -x "$node_bin" ]; then
  say "fetching Node $("$(command -v node)" -p 'require("./node_modules/node/package.json").version')"
  (cd node_modules/node && node installArchSpecificPackage.js >&2) || die "the npm package node could not be set up"
fi
"$node_bin" --version >/dev/null || die "$node_bin does not run on this machine, see above"

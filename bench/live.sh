#!/usr/bin/env bash
# Measures a live capture over a veth beside tcpdump and beside a program that
# reads headers and drops, in turn: bench/live.sh [RUNS [PART...]]
#
# Needs root, two CPUs with nothing else to do, tcpdump, ethtool, ip and taskset.
# Parts are those of ringbench live --help; without any, all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

for need in tcpdump ethtool ip taskset; do
  command -v "$need" >/dev/null || { echo "bench/live.sh: no $need; on Debian: apt-get install tcpdump ethtool iproute2 util-linux" >&2; exit 69; }
done
[ "$(id -u)" = 0 ] || { echo "bench/live.sh: makes network namespaces: run it as root" >&2; exit 77; }

runs=${1:-3}
shift || true
make -s build
uptime
exec build/ringbench live --runs "$runs" "$@"

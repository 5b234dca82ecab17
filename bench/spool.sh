#!/usr/bin/env bash
# Measures the spool beside dd, tcpdump and the codecs alone, in turn, and prints
# medians and their ratios: bench/spool.sh [RUNS [FOLDER]]
#
# FOLDER is on the disk that is measured; it needs 5 GiB. Needs tcpdump and dd.
set -euo pipefail
cd "$(dirname "$0")/.."

for need in tcpdump dd; do
  command -v "$need" >/dev/null || { echo "bench/spool.sh: no $need; on Debian: apt-get install tcpdump coreutils" >&2; exit 69; }
done

runs=${1:-5}
dir=${2:-build/bench}
mkdir -p "$dir"
export TMPDIR
TMPDIR=$(cd "$dir" && pwd)

go test ./writer/spool -run '^$' -bench 'Against|FetchCall' -benchtime "${runs}x" -timeout 60m | grep -E '^Benchmark'
go test ./writer/spool -count 1 -run '^TestSignallingShrinks$|^TestArenaBudget$' -v | grep -E 'speed_test|^---'
echo "dd, 2 GiB in pieces of 1 MiB, past the page cache:"
dd if=/dev/zero of="$dir/direct" bs=1M count=2048 oflag=direct 2>&1 | tail -1
rm -f "$dir/direct"

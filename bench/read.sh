#!/usr/bin/env bash
# Reads generated calls with tcpdump and with ringside, in turn, and prints the
# medians and their ratios: bench/read.sh [RUNS [FOLDER]]
#
# The load is 12 million packets of 2,000 concurrent G.711 calls (2.6 GiB), and
# then 20,000 concurrent calls for the memory of one (4 GiB). Both must fit the
# page cache beside the programs. Needs tcpdump and GNU time.
set -euo pipefail
cd "$(dirname "$0")/.."

for need in tcpdump /usr/bin/time; do
  command -v "$need" >/dev/null || { echo "bench/read.sh: no $need; on Debian: apt-get install tcpdump time" >&2; exit 69; }
done

runs=${1:-5}
dir=${2:-build/bench}
mkdir -p "$dir"
make -s build
load=$dir/load.pcap calls=$dir/calls.pcap
[ -e "$load" ] || build/ringbench gen --preset load -o "$load"
[ -e "$calls" ] || build/ringbench gen --seed 5 --calls 20000 --rate 4000 --talk 9s --gateways 64 -o "$calls"

# measure NAME COMMAND... appends "cpu wall KiB" to the results of NAME.
measure() {
  local out=$dir/$1.times
  shift
  /usr/bin/time -f '%U %S %e %M' -o "$dir/time" "$@" >/dev/null 2>&1
  awk '{ printf "%.2f %.2f %d\n", $1 + $2, $3, $4 }' "$dir/time" >>"$out"
}

# median NAME COLUMN
median() {
  sort -n -k"$2,$2" "$dir/$1.times" | awk -v c="$2" '{ v[NR] = $c } END { print v[int((NR + 1) / 2)] }'
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

rm -f "$dir"/*.times
cat "$load" >/dev/null
for _ in $(seq "$runs"); do
  measure tcpdump tcpdump -r "$load" -w /dev/null
  measure one build/ringside read --quiet --workers 1 "$load"
  measure two build/ringside read --quiet --workers 2 "$load"
done
cat "$calls" >/dev/null
measure calls1 build/ringside read --quiet --workers 1 "$calls"
measure calls2 build/ringside read --quiet --workers 2 "$calls"

printf '%-24s %8s %8s %10s\n' "12 million packets" "CPU s" "wall s" "peak MiB"
for name in tcpdump one two; do
  printf '%-24s %8s %8s %10d\n' "$name" "$(median $name 1)" "$(median $name 2)" $(($(median $name 3) / 1024))
done
echo "CPU, one worker to tcpdump:   $(ratio "$(median one 1)" "$(median tcpdump 1)")"
echo "wall, two workers to one:     $(ratio "$(median two 2)" "$(median one 2)")"
for name in calls1 calls2; do
  echo "KiB per call, 20,000 at once: $(ratio "$(median $name 3)" 20000) (${name#calls} worker)"
done

package guard

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/stat: USER_HZ is 100 wherever Linux shows it.
const tick = 10 * time.Millisecond

// Stolen is for how long the host of a virtual machine has had some of its CPUs for
// something else, while the machine wanted them: column "steal" of /proc/stat
// (proc_stat(5)), in steps of 10 ms. Without a list it is that of all CPUs together. It is
// 0 on a machine of its own.
func Stolen(cpus ...int) time.Duration {
	stat, _ := os.ReadFile("/proc/stat")
	return stolen(string(stat), cpus)
}

func stolen(stat string, cpus []int) (sum time.Duration) {
	for line := range strings.Lines(stat) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.HasPrefix(f[0], "cpu") {
			continue
		}
		all := f[0] == "cpu"
		if all != (len(cpus) == 0) || !all && !slices.ContainsFunc(cpus, func(cpu int) bool { return f[0] == fmt.Sprintf("cpu%d", cpu) }) {
			continue
		}
		ticks, _ := strconv.ParseInt(f[8], 10, 64)
		sum += time.Duration(ticks) * tick
	}
	return sum
}

package daemon

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// placing says where workers run.
type placing struct {
	run    []int // CPUs that workers may have
	pinned bool
}

// goProcessors is how many threads Go runs at a time, before workers have theirs:
// processors, or what the cgroup allows of them.
var goProcessors = runtime.GOMAXPROCS(0)

// spareProcessors are for what compresses, writes and collects garbage all the while when
// there is much to do. Go lets each of these keep a processor for 10 ms before the
// next has its turn; an answer of the API, which takes many turns, would wait for all of them.
const spareProcessors = 4

// giveThreads lets Go run so many workers beside everything else: they keep their
// processor while they wait (ring.Options.OwnThread). Which of the threads run is
// the kernel's business, and it is just to those that seldom do.
func giveThreads(workers int) {
	if want := goProcessors + workers + spareProcessors; want > runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(want)
	}
}

// pin is the CPU of a worker, -1 for any.
func (p placing) pin(worker int) int {
	if !p.pinned {
		return -1
	}
	return p.run[worker%len(p.run)]
}

// onlineCPUs are the CPUs that this process may use, and by CPU those that share
// its core.
func onlineCPUs() (cpus []int, siblings func(int) []int) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err == nil {
		for i := range len(set) * strconv.IntSize {
			if set.IsSet(i) {
				cpus = append(cpus, i)
			}
		}
	}
	return cpus, func(cpu int) []int {
		b, _ := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
		return parseCPUs(strings.TrimSpace(string(b)))
	}
}

// workerCPUs chooses the CPUs of workers. The first core is for everything else:
// the store, the spool, the garbage collector, the shell of whoever looks after
// the machine. With two CPUs or fewer nothing is pinned: the kernel's part of
// receiving runs on either, and a worker that could not step aside for it would
// lose the packets that it waits for.
func workerCPUs(cpus []int, siblings func(int) []int) placing {
	if len(cpus) <= 2 {
		return placing{run: cpus[:max(len(cpus)-1, min(len(cpus), 1))]}
	}
	first := append(siblings(cpus[0]), cpus[0])
	rest := slices.DeleteFunc(slices.Clone(cpus), func(c int) bool { return slices.Contains(first, c) })
	if len(rest) == 0 {
		rest = cpus[1:]
	}
	return placing{rest, true}
}

// steerCPUs chooses a CPU for each ring: the kernel gives a ring what arrives on
// the CPUs whose number, modulo the rings, is that of the ring.
func steerCPUs(cpus []int, rings int) ([]int, error) {
	out := make([]int, rings)
	for r := range out {
		out[r] = -1
		for _, c := range cpus { // of several the last: the first are for other work
			if c%rings == r {
				out[r] = c
			}
		}
		if out[r] < 0 {
			return nil, fmt.Errorf("steer to CPUs: %d rings cannot be shared out among CPUs %v: choose other --rings, or --steer flow", rings, cpus)
		}
	}
	return out, nil
}

// parseCPUs reads a list as the kernel writes it: 0-3,8.
func parseCPUs(s string) (out []int) {
	for item := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(item, "-")
		a, err := strconv.Atoi(from)
		b := a
		if ranged && err == nil {
			b, err = strconv.Atoi(to)
		}
		if err != nil {
			continue
		}
		for c := a; c <= b; c++ {
			out = append(out, c)
		}
	}
	return out
}

// describeWorkers says how many threads there are, and where.
func describeWorkers(ws []*worker) string {
	var at []string
	for _, w := range ws {
		if w.cpu >= 0 {
			at = append(at, strconv.Itoa(w.cpu))
		}
	}
	if len(at) == 0 {
		return fmt.Sprintf("workers: %d, on any CPU: there are too few to reserve one", len(ws))
	}
	return fmt.Sprintf("workers: %d, on CPU %s", len(ws), strings.Join(at, ", "))
}

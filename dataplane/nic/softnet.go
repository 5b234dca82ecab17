package nic

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Softnet counts, on the whole machine, what happens between the NIC's queues
// and the sockets (/proc/net/softnet_stat).
type Softnet struct {
	path string
	cpus map[int]*softnetCPU
}

// SoftnetCounters are counts since OpenSoftnet.
type SoftnetCounters struct {
	Processed uint64 // frames
	Dropped   uint64 // no room in the backlog of a CPU: net.core.netdev_max_backlog
	Squeezed  uint64 // times a CPU stopped with frames left to do: net.core.netdev_budget
	FlowLimit uint64 // dropped in favour of smaller flows: net.core.flow_limit_cpu_bitmap
	Steered   uint64 // times a CPU was woken to take frames from another (RPS)
}

// softnetCPU is the row of one CPU.
type softnetCPU [5]monotonic

// OpenSoftnet begins to count.
func OpenSoftnet() (*Softnet, error) { return openSoftnet("/proc/net/softnet_stat") }

func openSoftnet(path string) (*Softnet, error) {
	s := &Softnet{path: path}
	rows, err := s.rows()
	if err != nil {
		return nil, err
	}
	s.cpus = map[int]*softnetCPU{}
	for _, r := range rows {
		c := &softnetCPU{}
		for i := range c {
			c[i].last = r.values[i]
		}
		s.cpus[r.cpu] = c
	}
	return s, nil
}

// Read is the sum over all CPUs, and each CPU's own counts by its number.
func (s *Softnet) Read() (SoftnetCounters, map[int]SoftnetCounters, error) {
	rows, err := s.rows()
	for _, r := range rows {
		c := s.cpus[r.cpu]
		if c == nil { // switched on since: it begins at 0
			c = &softnetCPU{}
			s.cpus[r.cpu] = c
		}
		for i := range c {
			c[i].read(r.values[i], true, false)
		}
	}
	all, each := SoftnetCounters{}, map[int]SoftnetCounters{}
	for cpu, c := range s.cpus {
		one := SoftnetCounters{c[0].sum, c[1].sum, c[2].sum, c[3].sum, c[4].sum}
		each[cpu] = one
		all.Processed += one.Processed
		all.Dropped += one.Dropped
		all.Squeezed += one.Squeezed
		all.FlowLimit += one.FlowLimit
		all.Steered += one.Steered
	}
	return all, each, err
}

// softnetRow is a line: a CPU and its values, in the order of SoftnetCounters.
type softnetRow struct {
	cpu    int
	values [5]uint64
}

func (s *Softnet) rows() ([]softnetRow, error) {
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("read counters of the backlog: %w", err)
	}
	rows, err := parseSoftnet(string(text))
	if err != nil {
		return nil, fmt.Errorf("read counters of the backlog: %s: %w", s.path, err)
	}
	return rows, nil
}

// parseSoftnet reads lines of hexadecimal columns (softnet_seq_show in
// net/core/net-procfs.c). Kernels before 5.10 do not number the CPUs.
func parseSoftnet(text string) ([]softnetRow, error) {
	// Columns of Processed, Dropped, Squeezed, FlowLimit, Steered.
	places := [5]int{0, 1, 2, 10, 9}
	const cpuColumn = 12
	var rows []softnetRow
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, errors.New("a line has fewer than three columns")
		}
		row := softnetRow{cpu: len(rows)}
		for i, f := range fields {
			v, err := strconv.ParseUint(f, 16, 64)
			if err != nil {
				return nil, fmt.Errorf("column %d: %w", i+1, err)
			}
			for at, place := range places {
				if place == i {
					row.values[at] = v
				}
			}
			if i == cpuColumn {
				row.cpu = int(v)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

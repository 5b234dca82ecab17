package daemon

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// runState is the file that says, at the next start, how this run ended.
type runState struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Boot    string    `json:"boot_id"`
	Started time.Time `json:"started"`
	Updated time.Time `json:"updated"`
	Clean   bool      `json:"clean"`     // it ended in order
	Kills   uint64    `json:"oom_kills"` // in its control groups, at its start
	Memory  int64     `json:"memory_bytes"`
	State   string    `json:"state"`  // as of Updated
	Status  string    `json:"status"` // a line
}

const (
	runStateName  = "run.json"
	runStateEvery = 10 * time.Second
)

// save replaces the file.
func (r *runState) save(dir string) error {
	if dir == "" {
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, runStateName)
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o640); err != nil {
		return fmt.Errorf("keep state: %w", err)
	}
	return os.Rename(tmp, path)
}

// previousRun explains the end of the run before, from what it has left: empty if
// there was none, or if it ended in order.
func previousRun(dir, boot string, kills uint64) string {
	if dir == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(dir, runStateName))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	var was runState
	if err == nil {
		err = json.Unmarshal(b, &was)
	}
	if err != nil {
		return fmt.Sprintf("how the previous run ended is not known: %v", err)
	}
	if was.Clean {
		return ""
	}
	how := "was killed or crashed"
	switch {
	case was.Boot != boot:
		how = "ended with the machine, which was reset or lost power,"
	case kills > was.Kills:
		how = "was killed by the kernel for want of memory"
	}
	return fmt.Sprintf("the previous run (%s, started %s) %s within %v of %s: it was %s and had %s of memory: %s",
		was.Version, was.Started.UTC().Format(time.RFC3339), how, runStateEvery, was.Updated.UTC().Format(time.RFC3339),
		was.State, Bytes(was.Memory), was.Status)
}

// bootID names the time since the machine was started (random(4)).
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// cgroupDir is the control group of this process (cgroups(7), version 2); empty if
// there is none.
func cgroupDir() string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join("/sys/fs/cgroup", path)
		}
	}
	return ""
}

// oomKills is how many processes the kernel has killed for want of memory in the
// groups above dir, which outlive the service, and in dir itself.
func oomKills(dir string) (n uint64) {
	for dir != "" && dir != "/sys/fs" && dir != "/" && dir != "." {
		for key, v := range readPairs(filepath.Join(dir, "memory.events")) {
			if key == "oom_kill" {
				n = max(n, v)
			}
		}
		dir = filepath.Dir(dir)
	}
	return n
}

// readPairs reads a file with a name and a number on each line.
func readPairs(path string) map[string]uint64 {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	out := make(map[string]uint64)
	for s := bufio.NewScanner(f); s.Scan(); {
		name, text, _ := strings.Cut(s.Text(), " ")
		if v, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64); err == nil {
			out[name] = v
		}
	}
	return out
}

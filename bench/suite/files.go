package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ringside/bench/peer"
	"ringside/bench/report"
	"ringside/bench/traffic"
)

// readName names the part of the suite that reads files.
const readName = "read a file"

// capture is a file that is generated to be read.
type capture struct {
	name, what string
	options    traffic.Options
	slow       bool // programs that take minutes are let off it
}

// captures are the files of a run: one for the speed, one for the memory of a call.
func (p Plan) captures() []capture {
	// Conversations of a second have 100 packets, and the SIP of a call has 7.
	const callers = 2000
	talk := max(time.Duration(p.Packets/callers/callSecond)*time.Second, time.Second)
	many := 20000
	if p.Quick {
		many = 5000
	}
	return []capture{
		{
			name: "Read a file", what: "G.711 calls of " + talk.String(),
			options: traffic.Options{Seed: 3, Calls: callers, Rate: callers / 2, Talk: traffic.Length{Mean: talk}},
		},
		{
			name: "Read a file: memory of a call", what: "G.711 calls of a few seconds", slow: true,
			options: traffic.Options{Seed: 5, Calls: many, Rate: float64(many), Talk: traffic.Length{Mean: 2 * time.Second}, Gateways: 64},
		},
	}
}

// reader is a program that reads a file.
type reader struct {
	name string
	args func(file, dir string) ([]string, error)
	peer *peer.Peer // nil: ringside
}

// slowest is how long a program may read a file.
const slowest = 2 * time.Minute

// files generates captures, and lets all programs read them in turn.
func (r *suiteRun) files(ctx context.Context) error {
	if !r.only(readName) {
		return nil
	}
	dir, err := os.MkdirTemp(r.Folder, "ringbench-read-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	for _, c := range r.plan.captures() {
		path := filepath.Join(dir, "load.pcap")
		f, err := generateFile(ctx, c, path)
		if err != nil {
			return err
		}
		if err := r.readers(ctx, c, &f, path, dir); err != nil {
			return err
		}
		r.rep.Files = append(r.rep.Files, f)
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove capture: %w", err)
		}
	}
	return nil
}

// generateFile writes a capture, which is in the page cache then.
func generateFile(ctx context.Context, c capture, path string) (f report.File, err error) {
	g, err := traffic.New(c.options)
	if err != nil {
		return f, fmt.Errorf("generate capture: %w", err)
	}
	out, err := os.Create(path)
	if err != nil {
		return f, fmt.Errorf("create capture: %w", err)
	}
	totals, err := g.Run(ctx, out, nil)
	if err = errors.Join(err, out.Close()); err != nil {
		return f, fmt.Errorf("write capture (--spool names a folder with more room): %w", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return f, fmt.Errorf("find capture: %w", err)
	}
	return report.File{Name: c.name, What: c.what, Packets: uint64(totals.Frames), Calls: uint64(totals.Calls), Bytes: st.Size()}, nil
}

// readers lets all programs read a file, round after round.
func (r *suiteRun) readers(ctx context.Context, c capture, f *report.File, path, dir string) error {
	var all []reader
	for _, workers := range []string{"1", "2"} {
		all = append(all, reader{name: "ringside, workers: " + workers, args: func(file, _ string) ([]string, error) {
			return []string{r.Ringside, "read", "--quiet", "--workers", workers, file}, nil
		}})
	}
	for _, p := range peer.All() {
		if p.Read != nil && r.there(p) && !(c.slow && p.Slow) {
			all = append(all, reader{p.Name, p.Read, p})
		}
	}
	f.Rows = make([]report.FileRow, len(all))
	for round := range max(r.Runs, 2) {
		for i, on := range all {
			row := &f.Rows[i]
			// What takes long is measured once: its noise is the least of what there is.
			if row.Failed != "" || round > 0 && (row.Wall.Most() > 10 || r.left() < 10*time.Second) {
				continue
			}
			r.calibrate()
			row.Program = on.name
			if err := readOnce(ctx, on, row, path, dir); err != nil {
				if ctx.Err() != nil {
					return fmt.Errorf("read with %s: %w", on.name, ctx.Err())
				}
				row.Failed = "failed: " + firstLine(err.Error())
			}
			if round == 0 {
				say(r.out, "%6s  %s: %s: CPU %.2f s%s", time.Since(r.began).Round(time.Second), c.name, on.name, row.CPU.Least(), row.Failed)
			}
		}
	}
	return nil
}

// readOnce lets a program read a file once.
func readOnce(ctx context.Context, on reader, row *report.FileRow, path, dir string) error {
	args, err := on.args(path, dir)
	if err != nil {
		return err
	}
	row.Command = strings.ReplaceAll(strings.Join(append([]string{filepath.Base(args[0])}, args[1:]...), " "), dir, "DIR")
	limit, stop := context.WithTimeout(ctx, slowest)
	defer stop()
	cmd := exec.CommandContext(limit, args[0], args[1:]...)
	cmd.Dir = dir
	var said heard
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	if on.peer != nil {
		cmd.Stdout = &said
	}
	began := time.Now()
	err = cmd.Run()
	wall := time.Since(began)
	if limit.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("it was stopped after %v", slowest)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, firstLine(said.String()))
	}
	use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("the system does not say what a program used")
	}
	row.CPU = append(row.CPU, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	row.Wall = append(row.Wall, wall.Seconds())
	row.Memory = append(row.Memory, float64(use.Maxrss))
	if on.peer != nil {
		// Some say how many packets they had only when they capture.
		if n, err := on.peer.Count(said.String()); err == nil {
			row.Counted, row.Counts = n.Value, n.What
		}
	}
	return nil
}

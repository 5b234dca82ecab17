package daemon

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"
)

// WriteBundle writes what support asks for, as a zip archive: no secrets, no
// records, no packets. A part that cannot be had is in the archive as the reason.
func (s *Service) WriteBundle(ctx context.Context, to io.Writer) error {
	z := zip.NewWriter(to)
	for _, part := range s.bundleParts() {
		if err := ctx.Err(); err != nil {
			return err
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: "ringside/" + part.name, Method: zip.Deflate, Modified: time.Now()})
		if err != nil {
			return err
		}
		if err := part.write(w); err != nil {
			if _, err := fmt.Fprintf(w, "\ncannot be had: %v\n", err); err != nil {
				return err
			}
		}
	}
	return z.Close()
}

// bundlePart is one file of the bundle.
type bundlePart struct {
	name  string
	write func(io.Writer) error
}

func (s *Service) bundleParts() []bundlePart {
	parts := []bundlePart{
		{"README", func(w io.Writer) error { _, err := io.WriteString(w, bundleReadme); return err }},
		{"version.txt", func(w io.Writer) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintf(w, "%s\n%s %s/%s\n%s\n", s.o.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, info)
			return err
		}},
		{"status.json", func(w io.Writer) error { return indented(w, s.Status()) }},
		{"ledger.json", func(w io.Writer) error { rows, gaps := s.Ledger(); return indented(w, ControlLedger{rows, gaps}) }},
		{"flow.json", func(w io.Writer) error {
			if s.input == nil {
				return nil
			}
			return indented(w, s.input.flows().Stats())
		}},
		{"sources.json", func(w io.Writer) error { return indented(w, s.talkers()) }},
		{"settings.json", func(w io.Writer) error { return indented(w, s.Settings()) }},
		{"rules.txt", func(w io.Writer) error { text, _, _ := s.Rules(); _, err := io.WriteString(w, text); return err }},
		{"capture.txt", func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Join(s.Describe(), "\n")+"\n")
			return err
		}},
		{"flight.json", func(w io.Writer) error { return s.flight.encode(w, []string{"asked for"}) }},
		{"heap.pprof", func(w io.Writer) error { return pprof.Lookup("heap").WriteTo(w, 0) }},
		{"goroutines.txt", func(w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 1) }},
	}
	for _, path := range []string{"/proc/self/status", "/proc/self/limits", "/proc/meminfo", "/proc/loadavg", "/proc/net/softnet_stat", "/proc/net/dev", "/proc/interrupts", "/proc/version"} {
		parts = append(parts, bundleFile("system"+path, path))
	}
	for _, path := range s.flight.recordings() {
		parts = append(parts, bundleFile(filepath.Base(path), path))
	}
	return parts
}

// talkers are the sources that the filters in the kernel count, by interface.
func (s *Service) talkers() map[string]any {
	out := make(map[string]any)
	if s.live == nil {
		return out
	}
	for _, p := range s.live.ports {
		f, ok := p.filter.(kernelFilter)
		if !ok {
			continue
		}
		p.mu.Lock()
		if !p.frozen {
			if list, err := f.Sources(); err == nil {
				out[p.name] = list
			}
		}
		p.mu.Unlock()
	}
	return out
}

// bundleMost is how much of a file goes into the bundle.
const bundleMost = 8 << 20

func bundleFile(name, path string) bundlePart {
	return bundlePart{name, func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, io.LimitReader(f, bundleMost))
		return err
	}}
}

const bundleReadme = `What is in here: the version, the state and load of ringside, the ledger of packets, the
settings without secrets, the capture rules, the last fifteen minutes second by second
(flight.json, and those of earlier troubles), profiles of memory and goroutines, and facts
about the machine. Rules and settings name addresses and numbers where you have written
some there. There are no records of calls, no packets and no log.
`

func indented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

package pcapin

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ringside/bench/corpus"
)

// Damage that the captures of the corpus are known to have.
var corpusDamage = map[string]string{
	"slytechs-repos+jnetpcap-legacy/tc_TC_IDPRE_EXT0140.pcap": "cut short: 86 of 146 bytes of a record are there",
}

func TestCorpusCaptures(t *testing.T) {
	for _, row := range corpus.Index(t) {
		file := row["file"]
		t.Run(file, func(t *testing.T) {
			want, err := strconv.Atoi(row["packets"])
			if err != nil {
				t.Fatal(err)
			}
			got, s := readAll(t, Options{Inputs: []string{corpus.Capture(t, file)}})
			if len(got) != want {
				t.Errorf("%d frames, want %d", len(got), want)
			}
			if s.UnknownBlocks != 0 {
				t.Errorf("%d unknown blocks", s.UnknownBlocks)
			}
			reason := ""
			if s.Damaged > 0 {
				reason = s.Damages[0].Reason
			}
			if reason != corpusDamage[file] {
				t.Errorf("damage is %q, want %q", reason, corpusDamage[file])
			}
		})
	}
}

// The index of the small captures counts no frames, so capinfos does where it
// is installed.
func TestCorpusEncap(t *testing.T) {
	dir := filepath.Join(corpus.Dir(t), "encap")
	r, err := Open(Options{Inputs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	total := drain(t, r)
	if s := r.Stats(); s.Damaged != 0 || s.Passed != 1 || s.Files < 700 {
		t.Errorf("damages %v, %d of %d files passed over, want only the index", s.Damages, s.Passed, s.Files)
	}
	r.Close()
	if _, err := exec.LookPath("capinfos"); err != nil {
		t.Skip("capinfos is not installed, frames are not counted")
	}
	paths, err := expand([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-T", "-r", "-c", "-M"}
	for _, p := range paths {
		if !strings.HasSuffix(p.path, ".tsv") {
			args = append(args, p.path)
		}
	}
	out, err := exec.Command("capinfos", args...).Output()
	if err != nil {
		t.Fatalf("capinfos: %v", err)
	}
	sum, lines := 0, 0
	for line := range strings.Lines(string(out)) {
		name, count, _ := strings.Cut(strings.TrimSpace(line), "\t")
		want, err := strconv.Atoi(count)
		if err != nil {
			t.Fatalf("capinfos says %q", line)
		}
		got, _ := readAll(t, Options{Inputs: []string{name}})
		if len(got) != want {
			t.Errorf("%s: %d frames, capinfos says %d", name, len(got), want)
		}
		sum, lines = sum+want, lines+1
	}
	if sum != total || lines != len(args)-4 {
		t.Errorf("%d frames in all, capinfos says %d in %d of %d files", total, sum, lines, len(args)-4)
	}
}

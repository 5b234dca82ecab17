package pcapin

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// corpusDir is ../shared/corpus of the module's root.
func corpusDir(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			corpus := filepath.Join(dir, "..", "shared", "corpus")
			if _, err := os.Stat(corpus); err != nil {
				t.Skip("no corpus beside the module, its captures are not read")
			}
			return corpus
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// Damage that the captures of the corpus are known to have.
var corpusDamage = map[string]string{
	"slytechs-repos+jnetpcap-legacy/tc_TC_IDPRE_EXT0140.pcap": "cut short: 86 of 146 bytes of a record are there",
}

func TestCorpusCaptures(t *testing.T) {
	dir := corpusDir(t)
	file, err := os.Open(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := csv.NewReader(file)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if rows[0][0] != "file" || rows[0][4] != "packets" {
		t.Fatalf("columns are %q", rows[0])
	}
	for _, row := range rows[1:] {
		t.Run(row[0], func(t *testing.T) {
			want, err := strconv.Atoi(row[4])
			if err != nil {
				t.Fatal(err)
			}
			got, s := readAll(t, Options{Inputs: []string{filepath.Join(dir, "captures", row[0])}})
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
			if reason != corpusDamage[row[0]] {
				t.Errorf("damage is %q, want %q", reason, corpusDamage[row[0]])
			}
		})
	}
}

// The index of the small captures counts no frames, so capinfos does where it
// is installed.
func TestCorpusEncap(t *testing.T) {
	dir := filepath.Join(corpusDir(t), "encap")
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

package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestFilterFlag(t *testing.T) {
	if f, err := parseRead("--filter udp x.pcap"); err != nil || f.filter != "udp" {
		t.Errorf("%q, %v", f.filter, err)
	}
	var out, errs bytes.Buffer
	code := Main(t.Context(), []string{"read", "--filter", "port 5060 or prot 17", "x.pcap"}, strings.NewReader(""), &out, &errs)
	want := `filter, column 14, at "prot 17": port "prot" is not known`
	if code != exitUsage || !strings.Contains(errs.String(), want) {
		t.Errorf("exit %d, %q, want %d and %q", code, errs.String(), exitUsage, want)
	}
}

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// tag is the release, set by the linker (-X ringside/appliance/cli.tag=v1.2.3).
// Everything else comes from the build itself.
var tag string

// Version says what this program was built from.
type Version struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Commit   string `json:"commit"`   // "unknown" when built outside a checkout
	Modified bool   `json:"modified"` // the checkout had local changes
	Date     string `json:"date"`     // of the commit, RFC 3339
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func version() Version {
	info, _ := debug.ReadBuildInfo()
	return versionOf(info, tag)
}

func versionOf(info *debug.BuildInfo, tag string) Version {
	v := Version{
		Name: "ringside", Version: "development", Commit: "unknown", Date: "unknown",
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info != nil {
		if m := info.Main.Version; m != "" && m != "(devel)" {
			v.Version = m
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.time":
				v.Date = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if tag != "" {
		v.Version = tag
	}
	return v
}

func writeVersion(w io.Writer, v Version, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	commit := v.Commit
	if v.Modified {
		commit += ", modified"
	}
	_, err := fmt.Fprintf(w, "%s %s\ncommit    %s\ndate      %s\ngo        %s\nplatform  %s\n",
		v.Name, v.Version, commit, v.Date, v.Go, v.Platform)
	return err
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ringside/appliance/config"
)

// configFile is where the configuration of the service is.
const configFile = "/etc/ringside/ringside.conf"

func newCheckConfig() *cobra.Command {
	var asJSON, keys, brief bool
	c := &cobra.Command{
		Use:   "check-config [FILE]",
		Short: "say what each line of a configuration comes to",
		Long: `Read a configuration (default ` + configFile + `) as "ringside run --config" does,
and say of each line what it comes to, with file and number: set; mapped, not needed
or not supported where it is a key of VoIPmonitor; a warning; or why it is refused.
The exit code is 78 if anything is refused.

A voipmonitor.conf can be read as it is.`,
		Example: "  ringside check-config\n" +
			"  ringside check-config --brief /etc/voipmonitor.conf\n" +
			"  ringside check-config --keys",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if keys {
				if len(args) > 0 {
					return usage("--keys lists what there is: leave out the file")
				}
				return writeKeys(c.OutOrStdout(), asJSON)
			}
			path := configFile
			if len(args) > 0 {
				path = args[0]
			}
			_, report, err := loadConfig(path)
			if bad := (*config.Error)(nil); err != nil && !errors.As(err, &bad) {
				return coded{exitConfig, err}
			}
			if brief {
				report.Findings = report.Noteworthy()
			}
			if err := writeFindings(c.OutOrStdout(), &report, err == nil, asJSON); err != nil {
				return err
			}
			if err != nil {
				n := report.Count(config.Refused)
				return coded{exitConfig, fmt.Errorf("check configuration %s: %s", path, plural(n, "error"))}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	c.Flags().BoolVar(&brief, "brief", false, "only what is refused, not supported, or can hardly be meant")
	c.Flags().BoolVar(&keys, "keys", false, "list the keys that there are, with their defaults")
	return c
}

// writeFindings writes a line for each finding, as compilers do, and how many
// there are of each kind.
func writeFindings(w io.Writer, r *config.Report, ok, asJSON bool) error {
	if asJSON {
		return indented(w, struct {
			OK       bool             `json:"ok"`
			Files    []string         `json:"files"`
			Findings []config.Finding `json:"findings"`
		}{ok, notNil(r.Files), notNil(r.Findings)})
	}
	var b strings.Builder
	var of []string
	for _, f := range r.Findings {
		line := f.Place() + ": "
		if f.Key != "" {
			line += f.Key + ": "
		}
		fmt.Fprintln(&b, clean(line+string(f.Verdict)+": "+f.Text))
	}
	for _, v := range []config.Verdict{config.Set, config.Mapped, config.NotNeeded, config.NotSupported, config.Refused} {
		if n := r.Count(v); n > 0 {
			of = append(of, fmt.Sprintf("%s %s", count(n), v))
		}
	}
	if n := r.Count(config.Warning); n > 0 {
		of = append(of, plural(n, "warning"))
	}
	result := "The configuration is accepted"
	if !ok {
		result = "The configuration is refused"
	}
	if len(of) > 0 {
		result += ": " + strings.Join(of, ", ")
	}
	fmt.Fprintln(&b, result+".")
	_, err := io.WriteString(w, b.String())
	return err
}

// writeKeys lists the keys of the configuration.
func writeKeys(w io.Writer, asJSON bool) error {
	keys := config.Keys()
	if asJSON {
		return indented(w, keys)
	}
	var b strings.Builder
	width := len(slices.MaxFunc(keys, func(a, b config.Key) int { return len(a.Name) - len(b.Name) }).Name)
	group := ""
	for _, k := range keys {
		if k.Group != group {
			group = k.Group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		fmt.Fprintln(&b, strings.TrimRight("  "+padRight(k.Name, width)+"  "+k.Default, " "))
	}
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

func indented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// notNil is a list that JSON shows as one even if it is empty.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

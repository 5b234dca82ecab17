package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"ringside/appliance/config"
)

// newMan is for whoever makes packages.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "write the manual pages and the default configuration into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return writeManuals(c.Root(), args[0])
		},
	}
}

// writeManuals writes ringside.8 and a page for each command, ringside.conf.5, and
// ringside.conf as "ringside init" has it without having looked at the machine. The
// date is that of SOURCE_DATE_EPOCH, or today's.
func writeManuals(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write manual pages: %w", err)
	}
	root.DisableAutoGenTag = true
	head := &doc.GenManHeader{Section: "8", Source: "ringside " + root.Version, Manual: "System administration"}
	if err := doc.GenManTree(root, head, dir); err != nil {
		return fmt.Errorf("write manual pages: %w", err)
	}
	for name, write := range map[string]func(io.Writer) error{
		"ringside.conf.5": config.WriteMan,
		"ringside.conf":   func(w io.Writer) error { return config.WriteDefault(w, config.Probe{}) },
	} {
		var text bytes.Buffer
		if err := write(&text); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write manual pages: %w", err)
		}
	}
	return nil
}

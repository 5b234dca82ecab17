package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ringside/appliance/config"
)

func newInit() *cobra.Command {
	var path string
	var interfaces []string
	var force bool
	c := &cobra.Command{
		Use:   "init",
		Short: "write a first configuration for this machine",
		Long: `Write a configuration (default ` + configFile + `) in which every key stands in a
comment, with its default, and what was found on this machine: interfaces, CPUs,
memory, volumes. With --interface these are set to be captured from; where they carry
nothing of this machine's own, as dedicated.

A file that is there stays as it is, unless --force is given: it is then kept as
FILE.old.`,
		Example: "  ringside init --interface eth1\n" +
			"  ringside init --output -",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p := probe(thisMachine)
			p.Chosen = interfaces
			if err := checkChosen(p); err != nil {
				return err
			}
			var text bytes.Buffer
			if err := config.WriteDefault(&text, p); err != nil {
				return err
			}
			if path == "-" {
				_, err := c.OutOrStdout().Write(text.Bytes())
				return err
			}
			if err := install(path, text.Bytes(), force); err != nil {
				return err
			}
			next := "set interface there"
			if len(interfaces) > 0 {
				next = "look at it"
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "Wrote %s: %s, then run: ringside check-config %s\n", path, next, path)
			return err
		},
	}
	c.Flags().StringVarP(&path, "output", "o", configFile, "write to `FILE` (-: standard output)")
	c.Flags().StringArrayVarP(&interfaces, "interface", "i", nil, "capture from interface `NAME`; may be repeated")
	c.Flags().BoolVar(&force, "force", false, "write over a file that is there, which is kept as FILE.old")
	return c
}

// checkChosen finds interfaces that there are not.
func checkChosen(p config.Probe) error {
	var names []string
	for _, i := range p.Interfaces {
		names = append(names, i.Name)
	}
	for n, name := range p.Chosen {
		switch {
		case !slices.Contains(names, name):
			return coded{exitUnavailable, fmt.Errorf("--interface %s: there is no such interface; there are: %s", name, strings.Join(names, ", "))}
		case slices.Contains(p.Chosen[:n], name):
			return usage("--interface: %s is named twice", name)
		}
	}
	return nil
}

// install writes a file that is there whole or not at all.
func install(path string, text []byte, force bool) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("write configuration: %w", err)
	case !force:
		return fmt.Errorf("write configuration: %s is there already: look at it with \"ringside check-config %s\", or add --force", path, path)
	}
	there := err == nil
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".ringside.conf-*")
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o640), f.Sync(), f.Close())
	if err == nil && there {
		err = os.Rename(path, path+".old")
	}
	if err == nil {
		err = os.Link(f.Name(), path) // never over one that has come meanwhile
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// releases are the versions of the program that a package has installed side by
// side: DIR/VERSION/ringside. The program that runs is a symbolic link to one of
// them, so that going back is renaming a link: no file is copied or moved, and at
// no time there is none.
type releases struct {
	dir      string // of the releases
	link     string // the program
	previous string // link to the directory of the release before
}

var installed = releases{
	dir:      "/usr/lib/ringside/releases",
	link:     "/usr/bin/ringside",
	previous: "/usr/lib/ringside/previous",
}

func newRollback() *cobra.Command {
	var stay bool
	config := configFile
	c := &cobra.Command{
		Use:   "rollback",
		Short: "go back to the release that was installed before",
		Long: `Make the program that the Debian package installed before this one the one that runs,
and restart the service. The release before is tried first: it must start, and accept
the configuration. A second rollback goes forward again.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, to, err := installed.rollback(func(program string) error { return tryRelease(c.Context(), program, config) })
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "ringside %s runs from now on instead of %s\n", to, from)
			if stay {
				return nil
			}
			return restartService(c.Context(), c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&stay, "no-restart", false, "leave the service as it is: the release before runs from its next start on")
	c.Flags().StringVar(&config, "config", configFile, "the configuration `FILE` that it must accept")
	return c
}

// rollback makes the release before the one that runs, if try finds nothing wrong
// with it.
func (r releases) rollback(try func(program string) error) (from, to string, err error) {
	if from, err = r.current(); err != nil {
		return "", "", err
	}
	target, err := os.Readlink(r.previous)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", coded{exitUnavailable, errors.New("roll back: there is no release before: this is the first that was installed")}
	} else if err != nil {
		return "", "", fmt.Errorf("roll back: %w", err)
	}
	to = filepath.Base(target)
	if to == from {
		return "", "", coded{exitUnavailable, fmt.Errorf("roll back: %s runs already, and no other release is kept", from)}
	}
	program := filepath.Join(r.dir, to, "ringside")
	if i, err := os.Stat(program); err != nil {
		return "", "", fmt.Errorf("roll back to %s: %w: install the package of that version", to, err)
	} else if !i.Mode().IsRegular() || i.Mode()&0o111 == 0 {
		return "", "", fmt.Errorf("roll back to %s: %s is no program: install the package of that version", to, program)
	}
	if err := try(program); err != nil {
		return "", "", fmt.Errorf("roll back to %s: %w: %s stays", to, err, from)
	}
	if err := point(r.link, program); err != nil {
		return "", "", fmt.Errorf("roll back: %w", err)
	}
	if err := point(r.previous, filepath.Join(r.dir, from)); err != nil {
		return "", "", fmt.Errorf("roll back: %s runs, but the way forward is not kept: %w", to, err)
	}
	return from, to, nil
}

// current is the release that the link leads to.
func (r releases) current() (string, error) {
	target, err := os.Readlink(r.link)
	if err == nil && !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(r.link), target)
	}
	if err != nil || filepath.Dir(filepath.Dir(target)) != r.dir {
		return "", coded{exitUnavailable, fmt.Errorf("roll back: %s was not installed by the package: there is nothing to go back to", r.link)}
	}
	return filepath.Base(filepath.Dir(target)), nil
}

// point makes a relative symbolic link, in place of one that is there, at one blow.
func point(link, to string) error {
	target, err := filepath.Rel(filepath.Dir(link), to)
	if err != nil {
		return err
	}
	fresh := link + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, link)
}

// tryTime is how long a release may take to say its version, or to read the
// configuration.
const tryTime = 30 * time.Second

// tryRelease sees whether a program starts, and takes the configuration.
func tryRelease(ctx context.Context, program, config string) error {
	for _, args := range [][]string{{"--version"}, {"check-config", "--brief", config}} {
		ctx, cancel := context.WithTimeout(ctx, tryTime)
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, firstWords(out))
		}
	}
	return nil
}

// firstWords is the beginning of what a program said.
func firstWords(out []byte) string {
	const most = 300
	s := clean(strings.TrimSpace(string(out)))
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

// restartService restarts the service if it runs, where there is systemd.
func restartService(ctx context.Context, out io.Writer) error {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		_, err := fmt.Fprintln(out, "systemd does not run here: restart ringside by hand")
		return err
	}
	said, err := exec.CommandContext(ctx, "systemctl", "try-restart", "ringside.service").CombinedOutput()
	if err != nil {
		return fmt.Errorf("restart ringside.service: %w: %s: see journalctl -u ringside", err, firstWords(said))
	}
	return nil
}

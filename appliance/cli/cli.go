// Package cli is the command line of ringside: its commands, what they print,
// and the exit codes.
//
// Commands only parse flags, call the daemon or the store, and render. What
// renders is plain functions over records, tested against files in testdata.
// Results go to standard output; progress and errors go to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	exitOK          = 0
	exitFailure     = 1  // it failed while running
	exitUsage       = 2  // the command line is wrong
	exitUnavailable = 69 // what it needs is not there (EX_UNAVAILABLE)
	exitNoPerm      = 77 // a right is missing (EX_NOPERM)
	exitConfig      = 78 // the configuration is wrong (EX_CONFIG)
)

// coded is an error with the exit code that it asks for.
type coded struct {
	code int
	error
}

func (c coded) Unwrap() error { return c.error }

func usage(format string, args ...any) error {
	return coded{exitUsage, fmt.Errorf(format, args...)}
}

// Main runs the command line given by args, without the program's name, and
// returns the exit code. Cancelling ctx ends the command early.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	started := false
	root := newRoot(&started)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "ringside:", oneLine(err.Error()))
	code := exitCode(err)
	if !started { // cobra found fault with flags or arguments
		code = exitUsage
	}
	if code == exitUsage {
		fmt.Fprintln(stderr, "see: ringside help")
	}
	return code
}

func exitCode(err error) int {
	var c coded
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, fs.ErrPermission):
		return exitNoPerm
	}
	return exitFailure
}

// newRoot is the command tree; started is set once a command's own code runs.
func newRoot(started *bool) *cobra.Command {
	v := version()
	root := &cobra.Command{
		Use:   "ringside",
		Short: "calls and their quality from VoIP captures",
		Long: "ringside reads SIP and RTP and reports calls: who called whom, how it went,\n" +
			"and how it sounded.",
		Version:           v.Version,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	var text strings.Builder
	_ = writeVersion(&text, v, false)
	root.SetVersionTemplate(text.String())
	st := new(style)
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		*started = true
		if st.width < 0 {
			return usage("--width %d: write a number of columns, or 0 for that of the terminal", st.width)
		}
		return nil
	}
	fl := root.PersistentFlags()
	fl.BoolVar(&st.ascii, "ascii", false, "draw with ASCII only (default: as the locale says)")
	fl.BoolVar(&st.utc, "utc", false, "show times in UTC instead of local time")
	fl.IntVar(&st.width, "width", 0, "columns of a line (0: as wide as the terminal)")
	root.AddCommand(newRead(st), newRun(st), newServe(), newStatus(st), newReload(), newSupportBundle(), newCalls(st), newCall(st), newRegistrations(st), newEvents(st),
		newMessages(st), newSubscriptions(st), newPeers(st),
		newPcap(st), newSpool(st), newRules(st), newStore(), newUser(st), newVersion(v),
		newInit(), newCheckConfig(), newRollback(), newMan(), newTop(st), newDoctor(st), newSize(), newTune(st))
	return root
}

func newVersion(v Version) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "show what this program was built from",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return writeVersion(c.OutOrStdout(), v, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

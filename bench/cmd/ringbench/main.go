// Command ringbench makes the traffic that ringside is tested and measured with, and
// measures it: in suites, by single questions, and for long.
//
//	ringbench gen --preset demo -o demo.pcap --truth demo.truth
//	ringbench send --iface eth1 --pps 50000 --loop 10 --rewrite demo.pcap
//	ringbench suite --quick
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// errUsage is an error of the command line, already told.
var errUsage = errors.New("usage")

type command struct {
	name, what string
	run        func(ctx context.Context, args []string, out io.Writer) error
}

var commands = []command{
	{"gen", "write a capture file of generated calls, and the truth about it", gen},
	{"send", "send a capture file, or a flood, on an interface", send},
	{"suite", "measure everything on this machine, and write a report", runSuite},
	{"guard", "run the benchmarks of user space, and fail if one is slower than recorded", runGuard},
	{"compare", "compare the reports of two runs", compare},
	{"live", "ask one question about a live capture over a veth, beside tcpdump", live},
	{"soak", "run ringside for long at a constant load, and see whether it grows", soakCommand},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	out := os.Stdout
	if len(os.Args) > 1 && os.Args[1] == "gen" {
		out = os.Stderr // the capture may go to standard output
	}
	err := run(ctx, os.Args[1:], out)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "ringbench: %v\n", err)
		os.Exit(exitUsage)
	default:
		fmt.Fprintf(os.Stderr, "ringbench: %v\n", err)
		os.Exit(exitFailure)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		usage(out)
		if len(args) == 0 {
			return fmt.Errorf("%w: name a command", errUsage)
		}
		return nil
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, args[1:], out)
		}
	}
	return fmt.Errorf("%w: no command %q; see ringbench help", errUsage, args[0])
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: ringbench COMMAND [flags]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.what)
	}
	fmt.Fprint(w, "\nringbench COMMAND --help lists the flags of a command.\n")
}

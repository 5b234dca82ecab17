// Command leaky is ringside with a leak, to see that a soak finds it: memory of the
// Go heap, LEAK bytes a minute (default 1 MiB).
package main

import (
	"context"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"ringside/appliance/cli"
)

// pieces in which it leaks, a minute.
const pieces = 600

var leaked [][]byte

func main() {
	size, err := strconv.Atoi(os.Getenv("LEAK"))
	if err != nil {
		size = 1 << 20
	}
	go func() {
		for range time.Tick(time.Minute / pieces) {
			b := make([]byte, size/pieces)
			for i := range b {
				b[i] = byte(i)
			}
			leaked = append(leaked, b)
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

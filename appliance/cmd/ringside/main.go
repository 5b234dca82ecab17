// Command ringside reads VoIP captures and reports calls and their quality.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"ringside/appliance/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

package e2e

import "flag"

// full is for who has an hour: some tests have so many cases that otherwise a
// sample of them is tried, always the same one.
var full = flag.Bool("full", false, "try all cases of every test, and not a sample of them")

// every is n, the distance of the cases that are tried, and 1 with -full.
func every(n int) int {
	if *full {
		return 1
	}
	return n
}

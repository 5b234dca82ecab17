//go:build !amd64 && !arm64

package spool

func prefetch(*byte) {}

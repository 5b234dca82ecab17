package bpf

// The test program is an object of its own, so that what runs on an interface
// is not made larger by it.
//
//go:generate go tool bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3" Metertest metertest.bpf.c -- -I include

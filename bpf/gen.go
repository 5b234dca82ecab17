package bpf

// The same source twice: for XDP, and for the sockets of interfaces that are not
// for capturing alone.
//
//go:generate go tool bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3" Prefilter prefilter.bpf.c -- -I include
//go:generate go tool bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3" Socketfilter prefilter.bpf.c -- -I include -DRS_SOCKET

// What the pre-filter is measured against.
//
//go:generate go tool bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3" Floor floor.bpf.c -- -I include

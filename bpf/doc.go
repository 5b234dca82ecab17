// Package bpf holds the programs that run in the kernel, their object code, and
// what bpf2go makes of it for Go: a function that reads each object, and the
// types of its maps.
//
// The C sources are here and in include, one header for each concern. One
// object serves amd64 and arm64: both are little-endian. The generated files are
// committed, so that nothing but Go is needed to build ringside; `make
// generate` makes them anew with the clang that clang.txt names, and `make
// lint` checks that this changes nothing.
//
// What captures is loaded and attached by dataplane/xdp. Only the sender of
// tests and benchmarks (Sender) is run from here.
package bpf

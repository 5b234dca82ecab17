package size

import "time"

// What things cost. These are the only numbers that a size is computed from; each
// was measured, and says where, or with which command it is measured again. Times are
// those of the reference machine: one core of the virtual machine of
// bench/results, when nobody else uses it. Calibrate says how another one
// compares.

// Reference is how long Calibrate takes on the reference machine.
const Reference = 100 * time.Millisecond

// Start is what a program that starts and ends takes; EmptyStore are the bytes of a
// store without records.
const (
	Start      = 11 * time.Millisecond
	EmptyStore = 330 << 10
)

// The program, in user space and with the system calls that it makes.
//
//	go test ./tuning/size -run TestParts -v -measured
const (
	rtpReadNs  = 196    // an RTP packet of a file, read, decoded and measured, of few streams
	cacheNs    = 31     // what it takes more with each tenfold of streams beyond fewStreams: lines of the cache
	fewStreams = 400    // that rtpReadNs was measured with
	sipNs      = 5000   // a SIP message: parsed, and taken into its call
	callNs     = 7500   // a call's record, made
	streamNs   = 7200   // a stream: found, adopted, reported
	rowNs      = 23_400 // a row of a record, stored in SQLite with its indexes
	putByteNs  = 1.7    // a byte of a packet kept: into the chunk of its call, and to the disk's cache
	keepCallNs = 25_000 // the media of a call kept: its chunks, with a section each
	keepSIPNs  = 5500   // a SIP message kept: compressed with gzip
)

// Live capture, by packet: bench/results/2026-11-21-live.md, "ringbench live cost" and
// "ringbench live filter" (least).
const (
	kernelSkbNs     = 790 // a packet that reaches a ring: driver, program, skb
	kernelHeaderNs  = 590 // RTP handed to the feed, up to the end of its header
	programMeterNs  = 139 // what the program spends for a packet metered in the kernel
	programHeaderNs = 518 // reading the feed, finding the stream, writing to the spool
)

// meterNs is what the kernel takes to receive and meter a packet, by streams: the
// table's lines leave the cache.
var meterNs = []struct{ streams, ns float64 }{{10, 312}, {1_000, 321}, {10_000, 840}, {100_000, 1_030}}

// wholeNs is what the feed takes for a whole frame beyond a header: kernel, and reader.
// bench/results/2026-11-21-delivery.md, at a million a second, least.
const (
	wholeKernelNs = 20
	wholeReaderNs = 9
)

// idleCores is what the service takes when nothing comes: timers, status, and the
// tables of the kernel read once a second. "ringbench soak" with few calls.
const idleCores = 0.04

// Memory, bytes.
//
//	go test ./tuning/size -run TestMeasured -v -measured
const (
	baseBytes   = 31 << 20  // the program with one worker
	callBytes   = 7200      // a call that goes on, or was over a moment ago, with what the collector leaves lying about
	streamBytes = 3700      // a stream
	storeBytes  = 22 << 20  // the store, with records on their way; and with it
	storeShare  = 2         // times the bytes of its file, until its caches are full:
	storeCaches = 110 << 20 // pages of SQLite, as writer and readers have them
	spoolBytes  = 8 << 20   // the spool, beside its memory for packets
	meterBytes  = 96 << 20  // tables in the kernel: appliance/daemon/budget.go
	tcpBytes    = 128 << 20 // connections that carry SIP: the same
	lookPacket  = 260       // a packet of the look-back: docs/spool.md
	chunkBytes  = 64 << 10  // of a recorded call and class, where there is memory enough: docs/spool.md
	leastChunk  = 8 << 10   // the same, at the least
	burst       = 0.25      // seconds that a ring, or a feed, must hold while its worker does something else
	leastRing   = 64 << 20  // default of ringbuffer
	blockRoom   = 1.35      // of a ring, for a byte of frames: headers of TPACKET_V3, blocks that are not full
	linger      = 5         // seconds that a call that is over waits for what is repeated: flow/call, Limits
	lingerFails = 30        // the same, of one that came to nothing
)

// Bytes on disk.
const (
	blockBytes = 32    // pcapng around a packet, which is padded to four bytes
	chunkShare = 0.008 // sections, comments and the index, by byte of packets
	sipRatio   = 4.85  // captured bytes of SIP to bytes of file, gzip better: bench/results/2026-11-21-spool.md has 5.28 with REGISTER
)

// ratios are what is left of RTP: of G.711 as people speak it, of the generator's
// (docs/spool.md, bench/results/2026-11-21-spool.md), and of headers and the blocks around them
// (of generated calls, in pieces of 64 KiB, by the programs lz4 -1 and zstd -1); and what a byte
// takes, ns.
var ratios = map[string]struct{ speech, generated, headers, ns float64 }{
	"none": {1, 1, 1, 0},
	"lz4":  {0.70, 0.51, 0.44, 5},
	"zstd": {0.60, 0.45, 0.20, 6},
}

// Rows of the store, and their bytes in SQLite with all indexes: files of 1,000 and
// 4,000 calls, asked with dbstat.
const (
	rowCallBytes    = 1290 // the call, its leg, its addresses, and its share of the figures by hour
	rowStreamBytes  = 692
	rowMediaBytes   = 98
	rowMessageBytes = 75
	rowEventBytes   = 392 // one for every stream that ends, or attempt that fails; limited by source
)

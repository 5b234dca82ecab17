/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * feed.h: RTP that is recorded, or metered there, goes to user space without an
 * skb, through a ring for each CPU in memory that both sides see.
 *
 * A ring is written by the program on its CPU alone, and read by one reader
 * (dataplane/xdp, Feed). head and tail are positions that only grow; where a
 * record is in data is its position modulo feed_size, a power of two. A record
 * is never in two pieces: what begins before the end of the ring goes on in the
 * room behind it, and the beginning of the ring is left out for as many bytes.
 *
 * The record is written, then head is moved: by an atomic operation that
 * fetches, since only such a one orders what comes before it on all CPUs (see
 * table_unlock). The reader moves tail when nobody looks at the bytes any more;
 * the program writes there only after a branch on what it read, which no CPU
 * turns round.
 */
#ifndef RINGSIDE_FEED_H
#define RINGSIDE_FEED_H

#include "table.h"

/* What is before the ring, and how much of a frame one record can hold. */
#define RS_FEED_CONTROL 4096
#define RS_FEED_FRAME 2048

/* rs_feed_record is before the bytes of a frame; records begin at multiples of 8. */
struct rs_feed_record {
	__u64 time;    /* arrival, ns since the Unix epoch */
	__u32 len;     /* of the frame on the wire */
	__u32 refused; /* records that the ring has had no room for, so far */
	__u32 kept;    /* bytes of the frame that follow */
	__u32 flags;   /* RS_FEED_… */
};

#define RS_FEED_METERED 1 /* the in-kernel meter has counted this RTP packet */

struct rs_feed {
	__u64 head; /* the program's */
	__u64 refused;
	__u64 records;
	__u64 zero[5];
	__u64 tail; /* the reader's */
	__u8 rest[RS_FEED_CONTROL - 72];
	__u8 data[]; /* feed_size, and room for a record */
};

_Static_assert(sizeof(struct rs_feed_record) == 24, "rs_feed_record");
_Static_assert(sizeof(struct rs_feed) == RS_FEED_CONTROL, "rs_feed");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set by the loader: one for each CPU */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 2 * RS_FEED_CONTROL); /* set by the loader: RS_FEED_CONTROL + feed_size + RS_FEED_CONTROL */
} rs_feeds SEC(".maps");

volatile const __u32 feed_size = 0; /* bytes of each ring; 0: there is none */

volatile const __u8 feed_whole = 0; /* RTP that is not metered is put in whole; else up to RS_KEEP octets of payload */

/* rs_feeding says that the rings are read: in front of the host's stack alone they are not worth it. */
volatile __u32 rs_feeding;

/*
 * rs_feed_frame puts the first keep bytes of a frame into the ring of this CPU; not 0 if there
 * is no room. That is found out first, since what is refused must cost little; time 0 is now.
 */
static __always_inline int rs_feed_frame(struct xdp_md *ctx, __u32 wire, __u32 keep, __u64 time)
{
	__u32 cpu = bpf_get_smp_processor_id(), size;
	struct rs_feed_record *r;
	struct rs_feed *f;
	__u64 head;

	f = bpf_map_lookup_elem(&rs_feeds, &cpu);
	if (!f || !feed_size)
		return -1;
	/* Where the verifier has to know it: not before some copy of the number. */
	asm volatile("" : "+r"(keep));
	if (!keep || keep > RS_FEED_FRAME)
		return -1;
	size = (sizeof(*r) + keep + 7) & ~7U;
	head = f->head;
	if (head + size - TABLE_ONCE(f->tail) > feed_size) {
		f->refused++;
		return -1;
	}
	r = (void *)&f->data[head & (feed_size - 1)];
	r->time = time ? time : bpf_ktime_get_ns() + rs_offset;
	r->len = wire;
	r->refused = f->refused;
	r->kept = keep;
	r->flags = time ? RS_FEED_METERED : 0;
	if (bpf_xdp_load_bytes(ctx, 0, r + 1, keep)) {
		f->refused++;
		return -1;
	}
	f->records++;
	head = __sync_fetch_and_add(&f->head, size);
	asm volatile("" : : "r"(head) : "memory");
	return 0;
}

#endif

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * limit.h: SIP, and what is done about too much of it.
 *
 * Requests outside of dialogs of INVITE are limited, by source and in all. What is
 * beyond is counted, every packet, and one in so many passes. What belongs to
 * calls, and every response, always passes.
 */
#ifndef RINGSIDE_LIMIT_H
#define RINGSIDE_LIMIT_H

#include "packet.h"

struct rs_source {
	struct rs_addr addr;
	__u64 class; /* enum rs_class_of_request */
};

struct rs_bucket_of_source {
	__u64 full; /* when the bucket is full again, ns of bpf_ktime_get_ns */
	__u64 over; /* packets beyond the limit */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct rs_source);
	__type(value, struct rs_bucket_of_source);
} rs_sources SEC(".maps");

/* rs_total is the bucket of all sources, and what came beyond any limit. */
struct rs_total {
	__u64 full, over;
	__u64 apart[6]; /* a cache line for each class */
};

volatile struct rs_total rs_totals[RS_LIMITS];

/* rs_spend takes a packet of interval ns from a bucket, and says whether it was still in it. */
static __always_inline bool rs_spend(volatile __u64 *full, __u64 now, __u64 interval, __u64 burst)
{
	__u64 at = *full;

	/* Two CPUs may spend the same token: the limit is not that exact, the counters are. */
	if (at < now)
		at = now;
	if (at - now > burst)
		return false;
	*full = at + interval;
	return true;
}

/* rs_sample picks one in so many of those beyond the limit. */
static __always_inline bool rs_sample(__u64 over, __u64 one_in)
{
	return one_in && over % one_in == 0;
}

/* rs_limited is the reason of a request of a class. */
__noinline int rs_limited(const struct rs_settings *s, const struct rs_addr *from, __u32 class)
{
	struct rs_source key = {};
	struct rs_bucket_of_source *b, new = {};
	const struct rs_limit *l;
	volatile struct rs_total *t;
	bool spent;
	__u64 now, over;

	if (!s || !from || class >= RS_LIMITS)
		return RS_SIP;
	l = &s->limits[class];
	t = &rs_totals[class];
	now = bpf_ktime_get_ns();
	if (l->interval) {
		key.addr = *from;
		key.class = class;
		b = bpf_map_lookup_elem(&rs_sources, &key);
		if (b && !rs_spend(&b->full, now, l->interval, l->burst)) {
			over = __sync_fetch_and_add(&b->over, 1);
			return (rs_sample(over, l->sample) ? RS_SAMPLED_REGISTER : RS_OVER_REGISTER) + class;
		}
	}
	spent = !l->total_interval || rs_spend(&t->full, now, l->total_interval, l->total_burst);
	/*
	 * A new source has its bucket from its first packet that passes. Of a flood from
	 * made-up sources the map sees little, and forgets no real one.
	 */
	if (spent && l->interval && !b) {
		new.full = now + l->interval;
		bpf_map_update_elem(&rs_sources, &key, &new, BPF_ANY);
	}
	if (spent)
		return RS_SIP;
	over = __sync_fetch_and_add(&t->over, 1);
	return (rs_sample(over, l->sample) ? RS_SAMPLED_REGISTER : RS_OVER_REGISTER) + class;
}

/* Eight letters as they are read from a frame. */
#define RS_WORD(a, b, c, d, e, f, g, h)                                                                            \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 |                 \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)
#define RS_BYTES(n) (~0ULL >> (64 - 8 * (n)))

/* rs_request is the reason of a datagram of SIP, by its first word. */
static __always_inline int rs_request(RS_CTX *ctx, const struct rs_settings *s, const struct rs_packet *p)
{
	__u32 class = RS_METHOD;
	__u64 word;

	if (!s->limits[RS_REGISTER].interval && !s->limits[RS_REGISTER].total_interval &&
	    !s->limits[RS_OPTIONS].interval && !s->limits[RS_OPTIONS].total_interval &&
	    !s->limits[RS_METHOD].interval && !s->limits[RS_METHOD].total_interval)
		return RS_SIP;
	/* No request is that short. Line ends may keep a binding alive, or come before any message. */
	if (p->len < 8 || RS_READ(ctx, p->off, &word) || (__u8)word <= '\r')
		return RS_SIP;
	if (word == RS_WORD('S', 'I', 'P', '/', '2', '.', '0', ' ') ||
	    (word & RS_BYTES(7)) == RS_WORD('I', 'N', 'V', 'I', 'T', 'E', ' ', 0) ||
	    (word & RS_BYTES(4)) == RS_WORD('A', 'C', 'K', ' ', 0, 0, 0, 0) ||
	    (word & RS_BYTES(4)) == RS_WORD('B', 'Y', 'E', ' ', 0, 0, 0, 0) ||
	    (word & RS_BYTES(7)) == RS_WORD('C', 'A', 'N', 'C', 'E', 'L', ' ', 0) ||
	    (word & RS_BYTES(6)) == RS_WORD('P', 'R', 'A', 'C', 'K', ' ', 0, 0) ||
	    (word & RS_BYTES(7)) == RS_WORD('U', 'P', 'D', 'A', 'T', 'E', ' ', 0))
		return RS_SIP;
	if (word == RS_WORD('R', 'E', 'G', 'I', 'S', 'T', 'E', 'R'))
		class = RS_REGISTER;
	if (word == RS_WORD('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '))
		class = RS_OPTIONS;
	if (!s->limits[class].interval && !s->limits[class].total_interval)
		return RS_SIP;
	return rs_limited(s, &p->src, class);
}

#endif

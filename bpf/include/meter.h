/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * meter.h: the stream meter of docs/design/meter.md. flow/meter is the same in
 * Go, and both give equal counters, bit for bit; names here are those of the
 * page.
 *
 * A clean packet runs through meter_packet, which is inlined and touches struct
 * rs_hot alone. Everything else is in global functions: the verifier reads
 * each of them once, and not again in every place that calls it. Their pointer
 * arguments may be null to the verifier, hence the tests; their results mean
 * nothing unless they say so.
 *
 * Sums and differences are of unsigned numbers, since C leaves the overflow of
 * signed ones undefined.
 */
#ifndef RINGSIDE_METER_H
#define RINGSIDE_METER_H

#include "types.h"

/* Constants of the state machine; the page says why. Times in ns. */
#define METER_WINDOW 64
#define METER_MAX_DROPOUT 1000
#define METER_INTERVAL 10000000000ULL
#define METER_MAX_SKEW 4000000000ULL
#define METER_TALK_SKEW 300000000
#define METER_BLOCK 128
#define METER_F1 50000000
#define METER_F2 200000000
#define METER_AD_MAX 500000000
#define METER_AD_MARGIN 50000000
#define METER_AD_SHIFT 9
#define METER_MIN_RATE 1000
#define METER_MAX_RATE 384000

/* Flags of rs_hot; the low four bits: a run of bad numbers is open in that view. */
#define METER_RUNS 0x0f
#define METER_CAND 0x10
#define METER_ANCHORED 0x20
#define METER_CONFIRMED 0x40

/* rs_hot is the part of a stream's state that every packet touches. */
struct rs_hot {
	__u64 recv;    /* bit i: number highest-i was received */
	__u64 late[3]; /* bit i: number highest-i came too late for F1, F2, adaptive */
	__s64 last;    /* largest arrival, ns */
	__s64 anchor;  /* arrival of the last timed packet, ns */
	__s64 end;     /* end of the running interval, ns */
	__s64 transit; /* sum of D, ns */
	__u64 jitter;  /* RFC 3550 A.8, ns x 16 */
	__u64 jitter_sum; /* ns */
	__u64 bytes;
	__u64 gap_max;   /* ns */
	__u32 highest;   /* extended sequence number */
	__u32 anchor_ts; /* timestamp of the last timed packet */
	__u32 period;    /* ns per tick x 4096 */
	__u32 rate;      /* Hz, of period */
	__u32 cur;       /* transit above this block's minimum, ns */
	__u32 prev;      /* transit above the last block's minimum, ns */
	__u32 spread;    /* recent peak of the deviation, ns */
	__u32 packets;
	__u32 timed;
	__u32 jitter_max; /* ns */
	__u32 gap_min;    /* ns, saturated */
	__u32 step;       /* voted timestamp step, ticks */
	__u32 pt_votes;
	__u8 pt; /* voted payload type */
	__u8 last_pt;
	__u8 step_votes;
	__u8 flags;
};

/* rs_cold is the rest; what flow/meter makes of closed intervals is not here. */
struct rs_cold {
	__s64 first;  /* first arrival, ns */
	__u32 base;   /* lowest extended number of the epoch */
	__u32 closed; /* expected of closed epochs */
	__u32 duplicate, reordered, stray, resets, markers, events, comfort;
	__u32 bad[4], bursts[4];
	__u32 run; /* open run of the network view */
	__u32 run_hist[10];
	__u32 run_max;
	__u32 delay[8]; /* classes 1..7 */
	__u16 cand;     /* sequence number of the candidate */
	__u32 skew_n;
	__s64 skew_t[2]; /* lowest transit of the first and the last block, ns */
	__s64 skew_a[2]; /* and when the block ended */

	/* Counters at the end of the last interval that closed with numbers in it. */
	__u32 mark_exits, mark_bad[4], mark_bursts[4];
	__u32 pending;   /* ms whose numbers have not left the window */
	__u32 intervals; /* closed so far, 10,000 ms each */
};

_Static_assert(sizeof(struct rs_hot) == 152, "rs_hot");
_Static_assert(sizeof(struct rs_cold) == 248, "rs_cold");

/* What a packet is to the sequence. */
enum meter_kind {
	METER_FORWARD = 0, /* a new highest number */
	METER_BEHIND,	   /* reordered, inside the window */
	METER_DUPLICATE,
	METER_HELD, /* a jump that its successor must confirm */
};

/* meter_judge counts the number at bit of the window in every view. */
__noinline int meter_judge(struct rs_hot *h, struct rs_cold *c, __u64 bit)
{
	__u32 bad = 0, flags;

	if (!h || !c)
		return 0;
	flags = h->flags;
	if (!(h->recv & bit)) {
		bad = METER_RUNS;
		c->run++;
	} else {
		if (h->late[0] & bit)
			bad |= 2;
		if (h->late[1] & bit)
			bad |= 4;
		if (h->late[2] & bit)
			bad |= 8;
		if (c->run > 0) {
			__u32 i = c->run - 1;

			if (i > 9)
				i = 9;
			c->run_hist[i]++;
			if (c->run > c->run_max)
				c->run_max = c->run;
			c->run = 0;
		}
	}
	if (!(bad | (flags & METER_RUNS)))
		return 0;
#pragma unroll
	for (int v = 0; v < 4; v++) {
		c->bad[v] += bad >> v & 1;
		c->bursts[v] += (bad & ~flags) >> v & 1;
	}
	h->flags = (flags & ~METER_RUNS) | bad;
	return 0;
}

/* meter_leave judges the n oldest numbers of the window, oldest first. */
__noinline int meter_leave(struct rs_hot *h, struct rs_cold *c, __u32 n)
{
	__u32 number;
	__u64 bit = 1ULL << 63;

	if (!h || !c)
		return 0;
	number = h->highest - (METER_WINDOW - 1);
	for (__u32 i = 0; i < METER_WINDOW; i++) {
		if (i >= n)
			break;
		if (number >= c->base)
			meter_judge(h, c, bit);
		number++;
		bit >>= 1;
	}
	return 0;
}

/* meter_advance moves the window d numbers on. */
static __always_inline void meter_advance(struct rs_hot *h, struct rs_cold *c, __u32 d)
{
	meter_leave(h, c, d);
	if (d > METER_WINDOW) { /* numbers that were never inside */
		__u32 k = d - METER_WINDOW;
#pragma unroll
		for (int v = 0; v < 4; v++) {
			c->bad[v] += k;
			c->bursts[v] += ~h->flags >> v & 1;
		}
		c->run += k;
		h->flags |= METER_RUNS;
	}
	if (d < METER_WINDOW) {
		h->recv = h->recv << d | 1;
		h->late[0] <<= d;
		h->late[1] <<= d;
		h->late[2] <<= d;
	} else {
		h->recv = 1;
		h->late[0] = h->late[1] = h->late[2] = 0;
	}
	h->highest += d;
}

static __always_inline void meter_drop_candidate(struct rs_hot *h, struct rs_cold *c)
{
	if (h->flags & METER_CAND) {
		c->stray++;
		h->flags &= ~METER_CAND;
	}
}

/* meter_restart begins an epoch with the candidate and the packet behind it. */
static __always_inline void meter_restart(struct rs_hot *h, struct rs_cold *c)
{
	meter_leave(h, c, METER_WINDOW);
	c->closed += h->highest - c->base + 1;
	c->resets++;
	h->flags = (h->flags & ~(METER_RUNS | METER_CAND | METER_ANCHORED)) | METER_CONFIRMED;
	c->base = 65536 + c->cand;
	h->highest = c->base + 1;
	h->recv = 3;
	h->late[0] = h->late[1] = h->late[2] = 0;
}

/*
 * meter_sequence judges a packet that is not simply the next one, d numbers
 * from the highest, and says what it is (enum meter_kind).
 */
__noinline int meter_sequence(struct rs_hot *h, struct rs_cold *c, __u32 seq, int d)
{
	if (!h || !c)
		return METER_HELD;
	if (d >= 1 && d <= METER_MAX_DROPOUT) {
		meter_drop_candidate(h, c);
		if (d == 1)
			h->flags |= METER_CONFIRMED;
		meter_advance(h, c, d);
		return METER_FORWARD;
	}
	if (d <= 0 && d > -METER_WINDOW) {
		__u64 bit = 1ULL << (-d & 63);
		__u32 n = h->highest + d;

		meter_drop_candidate(h, c);
		if (h->recv & bit) {
			c->duplicate++;
			return METER_DUPLICATE;
		}
		h->recv |= bit;
		c->reordered++;
		if (n < c->base)
			c->base = n;
		return METER_BEHIND;
	}
	/* A jump: believed only when the very next packet continues it (RFC 3550 A.1, bad_seq). */
	if (h->flags & METER_CAND) {
		if ((__u16)seq == c->cand) {
			c->duplicate++;
			return METER_DUPLICATE;
		}
		if ((__u16)seq == (__u16)(c->cand + 1)) {
			meter_restart(h, c);
			return METER_FORWARD;
		}
		c->stray++;
	}
	c->cand = seq;
	h->flags |= METER_CAND;
	return METER_HELD;
}

/*
 * meter_close_interval closes the running interval: the marks move to the
 * numbers that have left the window. Without such numbers its weight waits in
 * pending. User space makes scores of the marks (meter.Adopt).
 */
__noinline int meter_close_interval(struct rs_hot *h, struct rs_cold *c, __u64 now)
{
	__u32 left, exits;

	if (!h || !c)
		return 0;
	left = h->highest - (METER_WINDOW - 1);
	exits = c->closed;
	if (left > c->base)
		exits += left - c->base;
	c->intervals++;
	c->pending += METER_INTERVAL / 1000000;
	if (exits != c->mark_exits) {
		c->mark_exits = exits;
#pragma unroll
		for (int v = 0; v < 4; v++) {
			c->mark_bad[v] = c->bad[v];
			c->mark_bursts[v] = c->bursts[v];
		}
		c->pending = 0;
	}
	h->end += METER_INTERVAL * (1 + (now - h->end) / METER_INTERVAL);
	return 0;
}

/*
 * meter_deviates counts a packet whose transit is 50 ms or more above the
 * baseline; bit is its number in the window.
 */
__noinline int meter_deviates(struct rs_hot *h, struct rs_cold *c, __u32 dev, __u32 limit, __u64 bit)
{
	__u32 class = 1;

	if (!h || !c)
		return 0;
	class += dev >= 70000000;
	class += dev >= 90000000;
	class += dev >= 120000000;
	class += dev >= 150000000;
	class += dev >= 200000000;
	class += dev >= 300000000;
	c->delay[class & 7]++;
	h->late[0] |= bit; /* dev is at least METER_F1 */
	if (dev >= METER_F2)
		h->late[1] |= bit;
	if (dev >= limit)
		h->late[2] |= bit;
	return 0;
}

/*
 * meter_close_block ends a block of the sliding minimum, and notes the minimum
 * for the skew of the sender's clock.
 */
__noinline int meter_close_block(struct rs_hot *h, struct rs_cold *c, __u64 now)
{
	if (!h || !c)
		return 0;
	if (c->skew_n == 0) {
		c->skew_t[0] = h->transit - h->cur;
		c->skew_a[0] = now;
	} else {
		c->skew_t[1] = h->transit - h->cur;
		c->skew_a[1] = now;
	}
	c->skew_n++;
	h->prev = h->cur;
	h->cur = 0;
	return 0;
}

/* meter_rebase begins a new time base with p, without a sample. */
static __always_inline void meter_rebase(struct rs_hot *h, struct rs_cold *c, const struct rs_rtp *p)
{
	h->anchor = p->time;
	h->anchor_ts = p->ts;
	h->cur = h->prev = 0;
	c->skew_n = 0;
	h->flags |= METER_ANCHORED;
}

/* meter_vote keeps the payload type that has the majority (Boyer and Moore). */
static __always_inline void meter_vote(struct rs_hot *h, __u8 pt)
{
	if (h->pt_votes == 0) {
		h->pt = pt;
		h->pt_votes = 1;
	} else if (h->pt == pt) {
		h->pt_votes++;
	} else {
		h->pt_votes--;
	}
}

/* meter_vote_step does the same for the timestamp step, with a short memory. */
static __always_inline void meter_vote_step(struct rs_hot *h, __u32 step)
{
	if (h->step == step) {
		if (h->step_votes < 255)
			h->step_votes++;
	} else if (h->step_votes == 0) {
		h->step = step;
		h->step_votes = 1;
	} else {
		h->step_votes--;
	}
}

/* meter_above is a transit above a minimum, moved by diff; a new minimum gives 0. */
static __always_inline __u64 meter_above(__u32 above, __u64 diff)
{
	__u64 x = above + diff;

	return (__s64)x < 0 ? 0 : x;
}

/*
 * meter_media votes on payload type and time step, and times an accepted media
 * packet against the one before it.
 */
static __always_inline void meter_media(struct rs_hot *h, struct rs_cold *c, const struct rs_rtp *p, __u32 rate,
					int d, int kind)
{
	__u8 changed = p->pt != h->last_pt;
	__u64 diff, size, cur, prev, dev, jitter;
	__u32 limit;
	int dts;

	h->last_pt = p->pt;
	meter_vote(h, p->pt);
	if (rate != h->rate) {
		if (rate < METER_MIN_RATE || rate > METER_MAX_RATE)
			return;
		h->rate = rate;
		h->period = (4096000000000ULL + rate / 2) / rate;
		h->flags &= ~METER_ANCHORED;
	}
	if (rate == 0)
		return;
	if (!(h->flags & METER_ANCHORED)) {
		meter_rebase(h, c, p);
		return;
	}

	dts = p->ts - h->anchor_ts;
	diff = p->time - h->anchor - (((__s64)dts * (__s64)h->period + 2048) >> 12);
	size = (__s64)diff < 0 ? -diff : diff;
	cur = meter_above(h->cur, diff);
	prev = meter_above(h->prev, diff);
	dev = cur > prev ? cur : prev;
	if (size > METER_MAX_SKEW || dev > METER_MAX_SKEW || (size > METER_TALK_SKEW && (p->marker || changed))) {
		meter_rebase(h, c, p);
		return;
	}
	h->anchor = p->time;
	h->anchor_ts = p->ts;
	h->transit += diff;
	h->cur = cur;
	h->prev = prev;
	h->timed++;

	if (d == 1 && dts > 0)
		meter_vote_step(h, dts);

	h->jitter += size - ((h->jitter + 8) >> 4);
	jitter = h->jitter >> 4;
	h->jitter_sum += jitter;
	if ((__u32)jitter > h->jitter_max)
		h->jitter_max = jitter;

	limit = h->spread + METER_AD_MARGIN;
	if (limit > METER_AD_MAX)
		limit = METER_AD_MAX;
	if (dev > h->spread)
		h->spread = dev < METER_AD_MAX ? dev : METER_AD_MAX;
	else
		h->spread -= h->spread >> METER_AD_SHIFT;
	if (dev >= METER_F1)
		meter_deviates(h, c, dev, limit, kind == METER_BEHIND ? 1ULL << (-d & 63) : 1);
	if (h->timed % METER_BLOCK == 0)
		meter_close_block(h, c, p->time);
}

/* meter_content counts what the packet carries, and times it. */
static __always_inline void meter_content(struct rs_hot *h, struct rs_cold *c, const struct rs_rtp *p, __u32 rate,
					  __u8 class, int d, int kind)
{
	if (kind == METER_DUPLICATE)
		return;
	if (p->marker)
		c->markers++;
	if (class == RS_MEDIA) {
		if (kind != METER_HELD)
			meter_media(h, c, p, rate, d, kind);
	} else if (class == RS_EVENT) {
		c->events++;
	} else {
		c->comfort++;
	}
}

/* meter_start takes the first packet of the stream, up to its content. */
__noinline int meter_start(struct rs_hot *h, struct rs_cold *c, const struct rs_rtp *p)
{
	if (!h || !c || !p)
		return 0;
	c->first = p->time;
	c->base = 65536 + p->seq;
	h->last = p->time;
	h->end = p->time + METER_INTERVAL;
	h->highest = c->base;
	h->recv = 1;
	h->gap_min = ~0U;
	h->packets = 1;
	h->bytes = p->len;
	return 0;
}

/*
 * meter_packet counts p, whose payload type has this clock rate (0: not known)
 * and class (enum rs_class). The state of a stream that has seen no packet is
 * zero.
 */
static __always_inline void meter_packet(struct rs_hot *h, struct rs_cold *c, const struct rs_rtp *p, __u32 rate,
					 __u8 class)
{
	int kind = METER_FORWARD, d = 0;
	__u64 gap;

	if (h->packets == 0) {
		meter_start(h, c, p);
	} else {
		if ((__s64)p->time >= h->end)
			meter_close_interval(h, c, p->time);
		gap = p->time - h->last;
		if ((__s64)gap < 0)
			gap = 0;
		else
			h->last = p->time;
		if (gap > h->gap_max)
			h->gap_max = gap;
		if (gap < h->gap_min)
			h->gap_min = gap;
		h->packets++;
		h->bytes += p->len;

		d = (__s16)(p->seq - h->highest);
		if (d == 1 && !(h->flags & (METER_RUNS | METER_CAND)) && (__s64)h->recv < 0 &&
		    (__s64)(h->late[0] | h->late[1] | h->late[2]) >= 0) {
			/* The number that leaves the window is good, after a good one. */
			h->recv = h->recv << 1 | 1;
			h->late[0] <<= 1;
			h->late[1] <<= 1;
			h->late[2] <<= 1;
			h->highest++;
			h->flags |= METER_CONFIRMED;
		} else {
			kind = meter_sequence(h, c, p->seq, d);
		}
	}
	meter_content(h, c, p, rate, class, d, kind);
}

#endif

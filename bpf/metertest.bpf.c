/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
//go:build ignore

/*
 * metertest.bpf.c: feeds the meter and its table with packets from a map, many
 * at a time, for the tests and benchmarks of dataplane/xdp. What is "sent" to
 * these programs by BPF_PROG_TEST_RUN is a struct span.
 */
#include "include/meter.h"
#include "include/table.h"

/* span says which packets to take. */
struct span {
	__u32 from, n;
	__u32 streams; /* run_bench: how many */
	__u32 pad;
};

/* fed is a packet, and what became of it. */
struct fed {
	struct rs_flow flow;
	struct rs_rtp rtp;
	__u32 rate;   /* run_meter: of the payload type */
	__u32 stream; /* run_meter: place in states */
	__u8 class;   /* run_meter: of the payload type */
	__u8 result;  /* run_table: enum table_result */
	__u16 zero[3];
};

/* state is a stream of run_meter, without a table around it. */
struct state {
	struct rs_hot hot;
	struct rs_cold cold;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct fed);
} fed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps");

static int take_span(struct xdp_md *ctx, struct span *s)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + sizeof(*s) > end)
		return 0;
	__builtin_memcpy(s, data, sizeof(*s));
	return 1;
}

static long feed_meter(__u32 i, void *ctx)
{
	__u32 at = i + ((struct span *)ctx)->from;
	struct fed *p = bpf_map_lookup_elem(&fed, &at);
	struct state *s;

	if (!p)
		return 1;
	s = bpf_map_lookup_elem(&states, &p->stream);
	if (!s)
		return 1;
	meter_packet(&s->hot, &s->cold, &p->rtp, p->rate, p->class);
	return 0;
}

/* run_meter feeds the bare meter. */
SEC("xdp")
int run_meter(struct xdp_md *ctx)
{
	struct span s;

	if (take_span(ctx, &s))
		bpf_loop(s.n, feed_meter, &s, 0);
	return XDP_DROP;
}

static long feed_table(__u32 i, void *ctx)
{
	__u32 at = i + ((struct span *)ctx)->from;
	struct fed *p = bpf_map_lookup_elem(&fed, &at);
	struct rs_flow flow;
	struct rs_rtp rtp;

	if (!p)
		return 1;
	flow = p->flow; /* on the stack, as a filter has them */
	rtp = p->rtp;
	p->result = table_count(&flow, &rtp);
	return 0;
}

/* run_table feeds the table. */
SEC("xdp")
int run_table(struct xdp_md *ctx)
{
	struct span s;

	if (take_span(ctx, &s))
		bpf_loop(s.n, feed_table, &s, 0);
	return XDP_DROP;
}

/* lap is how far run_bench and run_floor have come, so that they can go on. */
struct lap {
	struct span span;
	__u32 stream, turn, sum;
};

/*
 * next_packet makes the next packet of as many clean streams of G.711 as the
 * span says, in turn, in an order that no prefetcher guesses.
 */
static __always_inline void next_packet(struct lap *l, struct rs_flow *f, struct rs_rtp *p)
{
	__u32 id = l->stream * 2654435761U;

	__builtin_memset(f, 0, sizeof(*f));
	f->src.lo = 0x0100000affff0000ULL;
	f->dst.lo = 0x0200000affff0000ULL;
	f->sport = l->stream;
	f->dport = l->stream >> 16;
	f->ssrc = id;
	__builtin_memset(p, 0, sizeof(*p));
	p->time = (__u64)l->turn * 20000000 + l->stream * 10;
	p->ts = l->turn * 160;
	p->len = 160;
	p->seq = l->turn;
	p->pt = 8;
	p->ttl = 64;
	p->vlan = -1;
	if (++l->stream >= l->span.streams) {
		l->stream = 0;
		l->turn++;
	}
}

static long bench_table(__u32 i, void *ctx)
{
	struct lap *l = ctx;
	struct rs_flow f;
	struct rs_rtp p;

	next_packet(l, &f, &p);
	l->sum += table_count(&f, &p);
	return 0;
}

static long bench_floor(__u32 i, void *ctx)
{
	struct lap *l = ctx;
	struct rs_flow f;
	struct rs_rtp p;

	next_packet(l, &f, &p);
	l->sum += table_hash(&f) + p.seq;
	return 0;
}

static __always_inline int bench(struct xdp_md *ctx, long (*feed)(__u32, void *))
{
	struct lap l = {};

	if (!take_span(ctx, &l.span))
		return 0;
	l.turn = l.span.from;
	bpf_loop(l.span.n, feed, &l, 0);
	return l.sum & 0x7fffffff;
}

/* run_bench meters packets that it makes itself; its result is the sum of theirs. */
SEC("xdp")
int run_bench(struct xdp_md *ctx)
{
	return bench(ctx, bench_table);
}

/* run_floor makes the same packets and only hashes them. */
SEC("xdp")
int run_floor(struct xdp_md *ctx)
{
	return bench(ctx, bench_floor);
}

char __license[] SEC("license") = "Dual BSD/GPL";

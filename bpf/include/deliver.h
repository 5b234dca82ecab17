/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * deliver.h: how XDP hands on what passes: behind a note, cut, to another CPU.
 */
#ifndef RINGSIDE_DELIVER_H
#define RINGSIDE_DELIVER_H

#include "packet.h"

/* rs_cpus are the CPUs that share what passes, by their number, each with the program rs_arrived. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1); /* set by the loader: as many as there can be */
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} rs_cpus SEC(".maps");

/*
 * rs_steering counts what was sent to another CPU, and what arrived there: the
 * queue between them drops what it has no room for, and tells nobody.
 */
#define RS_ARRIVED 0
#define RS_SENT 1

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct rs_traffic);
} rs_steering SEC(".maps");

static __always_inline void rs_steered(__u32 at, __u32 bytes)
{
	struct rs_traffic *t = bpf_map_lookup_elem(&rs_steering, &at);

	if (t) {
		t->packets++;
		t->bytes += bytes;
	}
}

/* rs_flow_hash is the same for both directions. Without ports it is that of two hosts. */
static __always_inline __u32 rs_flow_hash(const struct rs_addr *src, const struct rs_addr *dst, __be16 sport, __be16 dport)
{
	const __u64 k = 0x9e3779b97f4a7c15ULL;
	__u64 h = ((src->lo + dst->lo) ^ (src->hi + dst->hi) * k) + ((__u64)(sport + dport) << 16 ^ (sport ^ dport)) * k;

	h ^= h >> 32;
	h *= k;
	h ^= h >> 29;
	h *= k;
	return h >> 32;
}

/* rs_pass hands a frame with a hash of its flow to the host, on this CPU or on that of its flow. */
static __always_inline int rs_pass(const struct rs_settings *s, __u32 hash, __u32 wire)
{
	__u32 at;
	long action;

	if (!s->n_cpus)
		return XDP_PASS;
	at = (__u64)hash * s->n_cpus >> 32;
	/* XDP_PASS is what comes back where the entry is not set. */
	action = bpf_redirect_map(&rs_cpus, s->cpus[at & (RS_MAX_CPUS - 1)], XDP_PASS);
	if (action == XDP_REDIRECT)
		rs_steered(RS_SENT, wire);
	return action;
}

/* rs_note_before cuts a frame of a length behind its first keep bytes, and puts a note before it. */
static __always_inline int rs_note_before(struct xdp_md *ctx, __u32 wire, __u32 keep, __u64 time)
{
	struct rs_note note = {
		.type = bpf_htons(RS_NOTE_TYPE),
		.flags = RS_NOTE_METERED,
		.magic = RS_NOTE_MAGIC,
		.len = wire,
		.time = time,
	};
	void *data;

	if (keep < wire) {
		if (bpf_xdp_adjust_tail(ctx, (int)keep - (int)wire))
			return -1;
		note.flags |= RS_NOTE_CUT;
	}
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(note)))
		return -1;
	data = (void *)(long)ctx->data;
	if (data + sizeof(note) > (void *)(long)ctx->data_end)
		return -1;
	__builtin_memcpy(__builtin_assume_aligned(data, 8), &note, sizeof(note));
	return 0;
}

#endif

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
//go:build ignore

/*
 * sender.bpf.c: makes frames, for benchmarks. sender_make runs in
 * BPF_PROG_TEST_RUN with live frames: each run fills the frame it is given and
 * returns XDP_TX, which sends it on the interface that the test run names. One
 * sender belongs to one thread and has maps of its own.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define SENDER_FRAME 2048 /* most bytes of a frame, a power of two */
#define SENDER_FIELDS 16
#define SENDER_SPIN 2048 /* looks at the time before a run gives up waiting: about 0.1 ms */

/* frame is a frame to send, with the places of its headers (0: there is none). */
struct frame {
	__u64 due;   /* after the begin of the pass, ns * 1024 */
	__u32 place; /* in the pass of all senders */
	__u16 len;
	__u16 ip, l4, sum; /* of the IP header, the transport header and its checksum */
	__u16 end; /* of the IP packet */
	__u8 v6;
	__u8 zero;
	__u8 data[SENDER_FRAME + 8]; /* so that a field may begin at any byte */
};

/* field is a place that is different in every frame; see bench/replay. */
struct field {
	__u32 at;
	__u32 each;  /* at least 1 */
	__u32 count; /* 0: all values */
	__u32 step;
	__u32 size; /* 2 or 4 bytes, big-endian; 8 hexadecimal digits */
};

/* plan is what a sender is told before it begins. */
struct plan {
	__u64 period;   /* from pass to pass, ns * 1024 */
	__u64 pass;     /* frames in a pass of all senders */
	__u64 total;    /* frames to send */
	__u64 patience; /* how late a frame may be before all that follows is shifted, ns */
	__u32 frames;   /* of this sender in a pass */
	__u32 fields;
	__u32 paced;
	__u32 zero;
};

/* state is how far it has come. */
struct state {
	__u64 made;    /* frames given to the driver */
	__u64 bytes;   /* in them */
	__u64 began;   /* when the first run was, CLOCK_MONOTONIC, ns */
	__u64 last;    /* when one of the last 64 frames was made */
	__u64 slipped; /* ns */
	__u64 loop;    /* pass of the next frame */
	__u32 next;    /* its index */
	__u32 failed;  /* frames that could not be made */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set when loaded */
	__type(key, __u32);
	__type(value, struct frame);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SENDER_FIELDS);
	__type(key, __u32);
	__type(value, struct field);
} fields SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps");

/* Not 0: make no more frames. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} stops SEC(".maps");

/* waiting is the context of until_due. */
struct waiting {
	__u64 due, now;
};

static long until_due(__u32 i, struct waiting *w)
{
	w->now = bpf_ktime_get_ns();
	return w->now >= w->due;
}

static __always_inline __u32 fold(__u32 s)
{
	s = (s >> 16) + (s & 0xffff);
	return (s >> 16) + (s & 0xffff);
}

/* mend applies a difference to a checksum (RFC 1624). */
static __always_inline void mend(__u8 *data, __u8 *end, __u32 at, __u32 delta, int udp)
{
	__u16 *c;

	c = (__u16 *)(data + (at & (SENDER_FRAME - 1)));
	if ((__u8 *)(c + 1) > end)
		return;
	*c = ~fold((__u16)~*c + delta);
	if (udp && !*c)
		*c = 0xffff;
}

/* sum8 is the ones' complement sum of the bytes at p, as they lie in memory. */
static __always_inline __u32 sum8(const __u8 *p, __u32 size)
{
	const __u16 *w = (const __u16 *)p;
	__u32 s = w[0];

	if (size > 2)
		s += w[1];
	if (size > 4)
		s += (__u32)w[2] + w[3];
	return fold(s);
}

/* put writes a field of frame number n, and mends the checksums over it. */
static __always_inline void put(__u8 *data, __u8 *end, const struct frame *f, const struct field *d, __u64 n)
{
	__u32 at = d->at & (SENDER_FRAME - 1), size = d->size, addrs, delta;
	__u64 v = n / (d->each ? d->each : 1);
	__u8 *p = data + at;
	__u32 w;

	if (d->count)
		v %= d->count;
	w = (__u32)v * d->step;
	if (p + 2 > end)
		return;
	if (size == 2) {
		delta = (__u16)~sum8(p, 2);
		*(__be16 *)p = bpf_htons(bpf_ntohs(*(__be16 *)p) + w);
		delta += sum8(p, 2);
	} else if (size == 4) {
		if (p + 4 > end)
			return;
		delta = (__u16)~sum8(p, 4);
		*(__be32 *)p = bpf_htonl(bpf_ntohl(*(__be32 *)p) + w);
		delta += sum8(p, 4);
	} else {
		if (p + 8 > end)
			return;
		delta = (__u16)~sum8(p, 8);
#pragma unroll
		for (int i = 0; i < 8; i++) {
			__u8 digit = w >> (28 - 4 * i) & 15;

			p[i] = digit < 10 ? '0' + digit : 'a' + digit - 10;
		}
		delta += sum8(p, 8);
	}
	delta = fold(delta);
	if (at & 1) /* the words of the checksum begin at even bytes */
		delta = (delta >> 8 | delta << 8) & 0xffff;
	if (!f->ip || at < f->ip || at >= f->end)
		return;
	addrs = f->v6 ? f->ip + 8 : f->ip + 12;
	if (!f->v6 && at < (f->l4 ? f->l4 : f->ip + 20))
		mend(data, end, f->ip + 10, delta, 0);
	if (f->sum && (at >= f->l4 || (at >= addrs && at < addrs + (f->v6 ? 32 : 8))))
		mend(data, end, f->sum, delta, f->sum == f->l4 + 6);
}

SEC("xdp")
int sender_make(struct xdp_md *ctx)
{
	struct plan *plan;
	struct state *s;
	struct frame *f;
	__u32 zero = 0, key, len, size, *stop;
	__u8 *data, *end;
	__u64 number, now = 0;

	plan = bpf_map_lookup_elem(&plans, &zero);
	s = bpf_map_lookup_elem(&states, &zero);
	stop = bpf_map_lookup_elem(&stops, &zero);
	if (!plan || !s || !stop || *(volatile __u32 *)stop || s->made >= plan->total)
		return XDP_DROP;
	key = s->next;
	f = bpf_map_lookup_elem(&frames, &key);
	if (!f)
		return XDP_ABORTED;
	if (plan->paced || !(s->made & 63) || s->made + 1 == plan->total)
		now = bpf_ktime_get_ns();
	/* Beginning takes a grace period of RCU, which is not to be caught up with. */
	if (!s->began)
		s->began = now;
	if (plan->paced) {
		struct waiting w = {.now = now};

		w.due = s->began + s->slipped + ((s->loop * plan->period + f->due) >> 10);
		if (w.now < w.due) {
			bpf_loop(SENDER_SPIN, until_due, &w, 0);
			if (w.now < w.due)
				return XDP_DROP;
			now = w.now;
		} else if (w.now > w.due + plan->patience) {
			s->slipped += w.now - w.due - plan->patience;
		}
	}

	len = f->len;
	size = ctx->data_end - ctx->data;
	/* The kernel gives pages back as an earlier run left them: all is written anew. */
	if (len < 14 || len > SENDER_FRAME || (len != size && bpf_xdp_adjust_tail(ctx, (int)len - (int)size)) ||
	    bpf_xdp_store_bytes(ctx, 0, f->data, len)) {
		s->failed++;
		return XDP_ABORTED;
	}
	data = (__u8 *)(long)ctx->data;
	end = (__u8 *)(long)ctx->data_end;
	number = s->loop * plan->pass + f->place;
	for (__u32 i = 0; i < SENDER_FIELDS; i++) {
		struct field *d;
		__u32 k = i;

		if (i >= plan->fields)
			break;
		d = bpf_map_lookup_elem(&fields, &k);
		if (!d)
			break;
		put(data, end, f, d, number);
	}

	if (now)
		s->last = now;
	s->made++;
	s->bytes += len;
	if (++s->next >= plan->frames) {
		s->next = 0;
		s->loop++;
	}
	return XDP_TX;
}

/*
 * sender_count counts what the driver says to the frames it is given. It sees
 * all interfaces of the machine, and keeps to one by its number and its network
 * namespace. Fields are found by name when the program is loaded (BTF).
 */
struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;

struct net_device {
	int ifindex;
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

struct tally {
	__u64 sent, refused;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} taken SEC(".maps");

volatile const __s32 sender_ifindex;
volatile const __u32 sender_netns;

SEC("tp_btf/xdp_devmap_xmit")
int BPF_PROG(sender_count, const struct net_device *from, const struct net_device *to, int sent, int drops, int err)
{
	struct tally *t;
	__u32 zero = 0;

	if (to->ifindex != sender_ifindex || to->nd_net.net->ns.inum != sender_netns)
		return 0;
	t = bpf_map_lookup_elem(&taken, &zero);
	if (t) {
		t->sent += sent;
		t->refused += drops;
	}
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";

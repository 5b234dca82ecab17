/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * table.h: the streams that are metered in the kernel. What a filter calls:
 *
 *	int table_count(const struct rs_flow *f, const struct rs_rtp *p);
 *
 * It finds or makes the stream, learns what its payload type is, meters the
 * packet, and says what is to become of it: enum table_result. Both arguments
 * are on the caller's stack, with all bytes set.
 *
 * The table is an array of buckets, mapped by user space (dataplane/xdp,
 * Meters), with eight streams each; what clean packets do not need of them is in
 * a second array. A bucket's version is a lock and a sequence
 * counter in one: odd while a program writes. User space reads when it is even
 * and finds it unchanged afterwards; it never takes the lock.
 *
 * Nothing is thrown out behind the back of user space. It gives a slot free by
 * writing the number of packets that it has read: if that is the stream's
 * count, no packet came in between, and the slot may be taken for another
 * stream, or for the same anew. A full bucket refuses new streams.
 *
 * Few streams shall touch few pages, so the table begins with a part of its buckets and
 * takes more as it fills. There are levels: 0 to TABLE_WHOLE are all buckets, each
 * level behind has half of them, and a stream has one bucket in each. New streams go
 * to the level table_home; when a bucket there is full, the one before is home. Those of
 * other levels (table_used) stay where they are.
 *
 * Who loads a program with this table sets table_buckets to the size of the
 * map, and table_keys to odd numbers that senders cannot know (xdp.SizeTable).
 */
#ifndef RINGSIDE_TABLE_H
#define RINGSIDE_TABLE_H

#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "meter.h"
#include "types.h"

/* What is to become of a packet. The first four have been metered. */
enum table_result {
	TABLE_METER = 0, /* nothing more is wanted of it */
	TABLE_HEADER,	 /* deliver up to the end of the RTP header */
	TABLE_FULL,	 /* deliver whole */
	TABLE_SAMPLE,	 /* deliver whole: a telephone-event, or one of the census of mirror copies */
	TABLE_NO_ROOM,	 /* not metered: a new stream, and its bucket is full */
	TABLE_BUSY,	 /* not metered: another CPU held the bucket for too long */
	TABLE_ABSENT,	 /* of table_try: the stream is not in this bucket */
};

#define TABLE_SLOTS 8

/* rs_slot is what a clean packet needs to know beside the meter's state. */
struct rs_slot {
	__u32 rate; /* clock rate of pt, Hz; 0: not known */
	__u8 pt;    /* payload type of the last packet */
	__u8 class : 4, policy : 4; /* enum rs_class, of pt; enum rs_policy, of the media map */
	__u8 ttl[2]; /* least and greatest */
};

/* rs_entry is a stream, as far as every packet touches it: three cache lines. */
struct rs_entry {
	struct rs_flow key;
	struct rs_hot hot;
};

/*
 * rs_bucket holds eight streams, and does not cross a page: what a packet touches of
 * it costs one entry of the TLB. User space owns release and policy; a slot that is
 * taken anew begins with zeros in both.
 */
struct rs_bucket {
	__u32 version;		    /* odd: being written */
	__u16 tags[TABLE_SLOTS];    /* of the key's hash; 0: never used */
	__u32 release[TABLE_SLOTS]; /* packets that had been read when the slot was given free; 0: it is not */
	__u8 policy[TABLE_SLOTS];   /* enum rs_policy; RS_UNKNOWN: as the media map says */
	__u32 zero;
	struct rs_slot slots[TABLE_SLOTS];
	struct rs_entry entries[TABLE_SLOTS];
	__u32 asked[TABLE_SLOTS]; /* media_generation when the media map did not know the stream; 0: not asked yet */
	__u32 rest[88];
};

/* rs_rest is the rest of a stream; the buckets of these are another map, so that the pages of rs_bucket are few. */
struct rs_rest {
	struct rs_cold cold;
	__u32 generation; /* of the slot: how many streams began in it */
	__s16 vlan;	  /* of the first packet, -1: untagged */
	__u8 dscp;	  /* of the first packet */
	__u8 zero;
};

struct rs_rests {
	struct rs_rest slots[TABLE_SLOTS];
};

/* table_counts is what happened, per CPU. */
struct table_counts {
	__u64 begun;   /* streams that got a slot */
	__u64 refused; /* packets without one: their bucket was full */
	__u64 busy;    /* packets whose bucket was being written for too long */
};

_Static_assert(sizeof(struct rs_entry) == 192, "rs_entry");
_Static_assert(sizeof(struct rs_bucket) == 2048, "rs_bucket");
_Static_assert(sizeof(struct rs_rest) == 256, "rs_rest");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set by the loader */
	__type(key, __u32);
	__type(value, struct rs_bucket);
} streams SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* as many */
	__type(key, __u32);
	__type(value, struct rs_rests);
} stream_rests SEC(".maps");

/* media is what SDP said of transport addresses; user space writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct rs_media_key);
	__type(value, struct rs_media);
} media SEC(".maps");

/* media_generation changes behind each change of media, and is never 0: what was not there may be now. */
volatile __u32 media_generation = 1;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct table_counts);
} table_counters SEC(".maps");

#define TABLE_KEYS 5

volatile const __u32 table_buckets = 0; /* entries of streams; 0: nothing is metered */
#define TABLE_LEVELS 8
#define TABLE_WHOLE 2
volatile __u32 table_home; /* level that new streams go to */
volatile __u32 table_used; /* bit n: a stream began at level n */

volatile const __u64 table_keys[TABLE_KEYS] = {};
volatile const __u8 table_ordered = 0; /* this kind of processor shows stores in their order */

/*
 * table_unknown is the policy (enum rs_policy) of a stream that no SDP has named
 * yet, for as many packets: what a rule wants of a call includes what came before
 * user space had read its SDP and published the address.
 */
volatile const __u32 table_unknown = RS_METER;
#define TABLE_UNKNOWN 512

#define TABLE_ONCE(x) (*(volatile __typeof__(x) *)&(x))

/*
 * Tries for the lock, some 20 microseconds: many times as long as a packet
 * takes. The verifier follows a few thousand branches that are open at once.
 */
#define TABLE_TRIES 512

/*
 * table_hash multiplies each word by a key of its own that senders cannot know,
 * and adds: the upper bits then fall together for two flows as rarely as dice do
 * (Dietzfelbinger 1996), and no product waits for another. The rest spreads that
 * to all bits: the bucket comes from the lower half, the slot and the tag from the
 * upper.
 */
static __always_inline __u64 table_hash(const struct rs_flow *f)
{
	__u64 h = f->src.lo * table_keys[0] + f->dst.lo * table_keys[1] + f->src.hi * table_keys[2] +
		  f->dst.hi * table_keys[3] + ((__u64)f->ssrc << 32 | (__u32)f->dport << 16 | f->sport) * table_keys[4];

	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 32;
}

static __always_inline int table_same(const struct rs_flow *a, const struct rs_flow *b)
{
	return a->ssrc == b->ssrc && a->sport == b->sport && a->dport == b->dport && a->src.lo == b->src.lo &&
	       a->dst.lo == b->dst.lo && a->src.hi == b->src.hi && a->dst.hi == b->dst.hi;
}

/* table_wait tries for the lock that another CPU has; 1: it is ours. */
__noinline int table_wait(__u32 *version)
{
	if (!version)
		return 0;
	for (int i = 0; i < TABLE_TRIES; i++) {
		__u32 v = TABLE_ONCE(*version);

		if (!(v & 1) && __sync_val_compare_and_swap(version, v, v + 1) == v)
			return 1;
		bpf_ktime_get_ns(); /* only to wait a little */
	}
	return 0;
}

static __always_inline int table_lock(__u32 *version)
{
	__u32 v = TABLE_ONCE(*version);

	if (!(v & 1) && __sync_val_compare_and_swap(version, v, v + 1) == v)
		return 1;
	return table_wait(version);
}

/*
 * table_unlock gives the lock back. Where stores are seen in their order (x86) a
 * store does it, which need not wait for those before it. Elsewhere it takes an
 * atomic operation, and one that fetches (arm64: ldaddal instead of stadd), so its
 * result must be of use.
 */
static __always_inline void table_unlock(__u32 *version)
{
	__u32 v;

	asm volatile("" : : : "memory");
	if (table_ordered) {
		TABLE_ONCE(*version) = TABLE_ONCE(*version) + 1;
		return;
	}
	v = __sync_fetch_and_add(version, 1);
	asm volatile("" : : "r"(v) : "memory");
}

/* Clock rates of RFC 3551 section 6, by payload type. */
static const __u32 table_rates[35] = {
	[0] = 8000,   [3] = 8000,   [4] = 8000,	  [5] = 8000,	[6] = 16000,  [7] = 8000,   [8] = 8000,
	[9] = 8000,   [10] = 44100, [11] = 44100, [12] = 8000,	[13] = 8000,  [14] = 90000, [15] = 8000,
	[16] = 11025, [17] = 22050, [18] = 8000,  [19] = 8000,	[25] = 90000, [26] = 90000, [28] = 90000,
	[31] = 90000, [32] = 90000, [33] = 90000, [34] = 90000,
};

/*
 * table_named looks up what SDP said of a transport address. It takes over the
 * policy, unless another address has given one, and the payload type, and
 * says whether it is there.
 */
static __always_inline int table_named(struct rs_slot *slot, const struct rs_addr *addr, __be16 port, __u8 pt,
				       int *named)
{
	struct rs_media_key key = {.addr = *addr, .port = port};
	struct rs_media *m = bpf_map_lookup_elem(&media, &key);

	if (!m)
		return 0;
	if (!*named) {
		*named = 1;
		slot->policy = m->policy == RS_UNKNOWN ? RS_METER : m->policy;
	}
	for (int i = 0; i < RS_PAYLOADS; i++) {
		if (i >= m->n)
			break;
		if (m->payloads[i].pt == pt) {
			slot->rate = m->payloads[i].rate;
			slot->class = m->payloads[i].class;
			return 1;
		}
	}
	return 0;
}

/*
 * table_resolve learns policy, rate and class of a stream whose policy is not
 * known or whose payload type has changed: from the SDP of who receives, else
 * of who sends (symmetric RTP, RFC 4961), else from RFC 3551.
 */
__noinline int table_resolve(struct rs_slot *slot, const struct rs_flow *f, __u32 pt)
{
	int named = 0;

	if (!slot || !f)
		return 0;
	slot->pt = pt;
	if (table_named(slot, &f->dst, f->dport, pt, &named) || table_named(slot, &f->src, f->sport, pt, &named))
		return 0;
	slot->rate = pt < 35 ? table_rates[pt] : 0;
	slot->class = pt == 13 || pt == 19 ? RS_COMFORT : RS_MEDIA;
	return 0;
}

/* table_released says whether user space has given slot s free, and no packet came since. */
static __always_inline int table_released(struct rs_bucket *b, __u32 s)
{
	__u32 r = TABLE_ONCE(b->release[s & 7]);

	return r && r == b->entries[s & 7].hot.packets;
}

/* table_take finds a slot for a new stream, its own if that is free; TABLE_SLOTS: there is none. */
__noinline int table_take(struct rs_bucket *b, __u32 own)
{
	if (!b)
		return TABLE_SLOTS;
	for (__u32 i = 0; i < TABLE_SLOTS; i++) {
		__u32 s = (own + i) & 7;

		if (!b->tags[s] || table_released(b, s))
			return s;
	}
	return TABLE_SLOTS;
}

/* table_begin makes slot s that of a new stream. */
__noinline int table_begin(struct rs_bucket *b, struct rs_rest *rest, __u32 s, const struct rs_flow *f,
			   const struct rs_rtp *p)
{
	__u32 generation, zero = 0;
	struct table_counts *n;

	if (!b || !rest || !f || !p)
		return 0;
	s &= 7;
	__builtin_memset(&b->entries[s], 0, sizeof(b->entries[s]));
	__builtin_memset(&b->slots[s], 0, sizeof(b->slots[s]));
	TABLE_ONCE(b->release[s]) = 0;
	TABLE_ONCE(b->policy[s]) = RS_UNKNOWN;
	b->asked[s] = 0;
	b->entries[s].key = *f;
	b->slots[s].ttl[0] = b->slots[s].ttl[1] = p->ttl;

	generation = rest->generation + 1;
	__builtin_memset(rest, 0, sizeof(*rest));
	rest->generation = generation;
	rest->dscp = p->dscp;
	rest->vlan = p->vlan;

	n = bpf_map_lookup_elem(&table_counters, &zero);
	if (n)
		n->begun++;
	return 0;
}

/*
 * table_find is the slot of a stream in its bucket; TABLE_SLOTS: it has none.
 * own is where it is if nobody was there before it.
 */
static __always_inline __u32 table_find(struct rs_bucket *b, __u16 tag, __u32 own, const struct rs_flow *f)
{
	if (b->tags[own] == tag && table_same(&b->entries[own].key, f))
		return own;
	for (__u32 s = 0; s < TABLE_SLOTS; s++)
		if (b->tags[s] == tag && table_same(&b->entries[s].key, f))
			return s;
	return TABLE_SLOTS;
}

/*
 * table_touch reads what will be needed of a stream. The lock lets nothing behind it
 * begin before it has the first line: so they are under way together.
 */
static __always_inline void table_touch(const struct rs_bucket *b, __u32 own)
{
	const __u64 *e = (const __u64 *)&b->entries[own & 7];

	TABLE_ONCE(b->slots[own & 7].rate);
	TABLE_ONCE(e[0]);
	TABLE_ONCE(e[8]);
	TABLE_ONCE(e[16]);
}

/* table_meter is table_try in a bucket that is ours. */
static __always_inline int table_meter(struct rs_bucket *b, struct rs_rests *rests, __u64 hash, const struct rs_flow *f,
				       const struct rs_rtp *p, bool begin)
{
	__u32 own = hash >> 32 & 7;
	__u16 tag = hash >> 48 | 1;
	__u32 s = table_find(b, tag, own, f), begins = 1;
	struct rs_slot *slot;
	__u8 policy;

	if (s < TABLE_SLOTS)
		begins = table_released(b, s);
	else if (!begin)
		return TABLE_ABSENT;
	else if ((s = table_take(b, own)) >= TABLE_SLOTS)
		return TABLE_NO_ROOM;
	s &= 7;
	if (begins) {
		table_begin(b, &rests->slots[s], s, f, p);
		b->tags[s] = tag;
	}

	slot = &b->slots[s];
	if (p->pt != slot->pt || slot->policy == RS_UNKNOWN) {
		__u32 generation = media_generation; /* before what it tells of */

		if (p->pt != slot->pt || b->asked[s] != generation) {
			b->asked[s] = generation;
			table_resolve(slot, f, p->pt);
		}
	}
	if (p->ttl < slot->ttl[0])
		slot->ttl[0] = p->ttl;
	if (p->ttl > slot->ttl[1])
		slot->ttl[1] = p->ttl;
	meter_packet(&b->entries[s].hot, &rests->slots[s].cold, p, slot->rate, slot->class);

	policy = TABLE_ONCE(b->policy[s]);
	if (policy == RS_UNKNOWN)
		policy = slot->policy;
	if (policy == RS_UNKNOWN && b->entries[s].hot.packets <= TABLE_UNKNOWN)
		policy = table_unknown;
	if (policy == RS_FULL)
		return TABLE_FULL;
	if (slot->class == RS_EVENT || (p->seq & 0xff) == 0)
		return TABLE_SAMPLE;
	return policy == RS_HEADER ? TABLE_HEADER : TABLE_METER;
}

/* table_bucket is where the bucket of a level is. */
static __always_inline __u32 table_bucket(__u64 hash, __u32 level)
{
	/* Elsewhere at each level, so that those who share a full bucket part. */
	__u32 at = (__u32)hash ^ level * 0x9e3779b9U;

	return (__u64)at * (table_buckets >> (level > TABLE_WHOLE ? level - TABLE_WHOLE : 0)) >> 32;
}

/* table_maybe says without the lock whether a stream may be in a bucket. One line is read for it. */
static __always_inline bool table_maybe(const struct rs_bucket *b, __u64 hash)
{
	__u16 tag = hash >> 48 | 1;
	bool found = false;

	if (TABLE_ONCE(b->tags[hash >> 32 & 7]) == tag)
		return true;
	for (__u32 s = 0; s < TABLE_SLOTS; s++)
		found |= TABLE_ONCE(b->tags[s]) == tag;
	return found;
}

/* table_try is table_count for one level; a stream that is not there yet begins there, or is absent. */
__noinline int table_try(const struct rs_flow *f, const struct rs_rtp *p, __u64 hash, __u32 level, __u32 begin)
{
	__u32 at = table_bucket(hash, level & (TABLE_LEVELS - 1));
	struct rs_rests *rests;
	struct rs_bucket *b;
	int result = TABLE_BUSY;

	if (!f || !p)
		return TABLE_NO_ROOM;
	b = bpf_map_lookup_elem(&streams, &at);
	rests = bpf_map_lookup_elem(&stream_rests, &at);
	if (!b || !rests)
		return TABLE_NO_ROOM;
	if (!begin && !table_maybe(b, hash))
		return TABLE_ABSENT;
	table_touch(b, hash >> 32);
	if (table_lock(&b->version)) {
		result = table_meter(b, rests, hash, f, p, begin);
		table_unlock(&b->version);
	}
	return result;
}

/* table_seek is table_count for a stream that is not at home: it looks at all levels, and begins it where there is room. */
static __always_inline int table_seek(const struct rs_flow *f, const struct rs_rtp *p, __u64 hash)
{
	__u32 home = table_home & (TABLE_LEVELS - 1), used = table_used;
	int result;

	/* The level that was home before comes first. */
	for (__u32 i = 1; i < TABLE_LEVELS; i++) {
		__u32 l = (home + i) & (TABLE_LEVELS - 1);

		if (!(used >> l & 1))
			continue;
		result = table_try(f, p, hash, l, 0);
		if (result != TABLE_ABSENT)
			return result;
	}
	for (__u32 i = 0; i < TABLE_LEVELS; i++) {
		__u32 l = home - i;

		if (i > home)
			break;
		if (!(used >> l & 1))
			__sync_fetch_and_or(&table_used, 1U << l); /* before anybody may have to look there */
		result = table_try(f, p, hash, l, 1);
		if (result == TABLE_NO_ROOM)
			continue;
		if (l < home && l >= TABLE_WHOLE)
			table_home = l;
		return result;
	}
	return TABLE_NO_ROOM;
}

/* table_count meters a packet, and says what is to become of it: see above. */
static __always_inline int table_count(const struct rs_flow *f, const struct rs_rtp *p)
{
	struct table_counts *n;
	__u32 zero = 0;
	__u64 hash;
	int result;

	if (!table_buckets)
		return TABLE_NO_ROOM;
	hash = table_hash(f);
	result = table_try(f, p, hash, table_home, 0);
	if (result == TABLE_ABSENT)
		result = table_seek(f, p, hash);
	if (result >= TABLE_NO_ROOM) {
		n = bpf_map_lookup_elem(&table_counters, &zero);
		if (n && result == TABLE_BUSY)
			n->busy++;
		else if (n)
			n->refused++;
	}
	return result;
}

#endif

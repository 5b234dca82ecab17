/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * packet.h: from the link-layer header to the payload of the transport protocol.
 *
 * The same code reads for XDP and for socket filters (RS_SOCKET). It follows
 * dataplane/decode, but knows less: what it does not understand gets a reason,
 * and is passed to those who do.
 */
#ifndef RINGSIDE_PACKET_H
#define RINGSIDE_PACKET_H

#include <stdbool.h>

#include "reason.h"

#include <bpf/bpf_endian.h>

#ifdef RS_SOCKET
#define RS_CTX struct __sk_buff
#else
#define RS_CTX struct xdp_md
#endif

/* Headers are looked for in so many bytes from the beginning of the frame. */
#define RS_FAR 1024

/*
 * rs_read copies n bytes at off, n a constant. It returns other than 0 if they are
 * not there. In XDP only the first buffer of a frame is looked at; drivers put
 * the headers there. The alignment is a fiction for the compiler: without it, it
 * would read byte by byte.
 */
static __always_inline int rs_read(RS_CTX *ctx, __u32 off, void *to, const __u32 n)
{
	if (off > RS_FAR)
		return -1;
#ifdef RS_SOCKET
	return bpf_skb_load_bytes_relative(ctx, off, to, n, BPF_HDR_START_MAC);
#else
	const void *from = (void *)(long)ctx->data + off;

	if (from + n > (void *)(long)ctx->data_end)
		return -1;
	__builtin_memcpy(to, __builtin_assume_aligned(from, 8), n);
	return 0;
#endif
}

/* RS_AT is what is at an offset in bytes, wherever that is. */
#define RS_AT(type, from, off) (*(const type *)((from) + (off)))

#define RS_READ(ctx, off, to) rs_read(ctx, off, to, sizeof(*(to)))

/* rs_wire is the length of the frame. */
static __always_inline __u32 rs_wire(RS_CTX *ctx)
{
#ifdef RS_SOCKET
	return ctx->len;
#else
	return bpf_xdp_get_buff_len(ctx);
#endif
}

/* rs_datagram names an IP datagram that comes in fragments. */
struct rs_datagram {
	struct rs_addr src, dst;
	__u32 id;
	__u32 proto;
};

enum {
	RS_WHOLE = 0,
	RS_FIRST, /* first fragment: has the ports */
	RS_LATER,
	RS_MIXED, /* any fragment of a datagram in a first fragment of another */
};

/* rs_packet is what is known of a frame: its innermost IP header that was read, and what follows. */
struct rs_packet {
	struct rs_addr src, dst;
	struct rs_datagram datagram; /* of the outermost fragment, if fragment is set */
	__u32 off;   /* where to read on: in the end, the payload */
	__u32 end;   /* where the IP payload ends, by the IP header */
	__u32 limit; /* where the frame ends, or what the tunnel carries */
	__u32 len;   /* octets of payload on the wire, of UDP or RTP */
	__be16 sport, dport;
	__s16 vlan;     /* outermost, -1: untagged */
	__u8 proto;     /* 0 until there is an IP header */
	__u8 ttl, dscp;
	__u8 six;       /* IPv6 */
	__u8 fragment;  /* RS_WHOLE, … */
	__u8 tunnelled; /* inside a tunnel */
};

/* EtherTypes */
#define RS_ETH_IP 0x0800
#define RS_ETH_IP6 0x86dd
#define RS_ETH_BRIDGED 0x6558 /* an Ethernet frame, in GRE and Geneve */

/* IP protocols, and IPv6 extension headers */
#define RS_HOPOPTS 0
#define RS_ICMP 1
#define RS_IGMP 2
#define RS_IPIP 4
#define RS_TCP 6
#define RS_UDP 17
#define RS_6IN4 41
#define RS_ROUTING 43
#define RS_FRAGMENT 44
#define RS_GRE 47
#define RS_ESP 50
#define RS_AH 51
#define RS_ICMP6 58
#define RS_DSTOPTS 60
#define RS_ETHERIP 97
#define RS_L2TP 115
#define RS_SCTP 132
#define RS_MPLS 137

#define RS_TAGS 4       /* VLAN tags in a row */
#define RS_EXTENSIONS 8 /* headers in a row */

struct rs_tag {
	__be16 tci, type;
};

static __always_inline bool rs_is_tag(__be16 type)
{
	return type == bpf_htons(0x8100) || type == bpf_htons(0x88a8) || type == bpf_htons(0x9100) ||
	       type == bpf_htons(0x9200) || type == bpf_htons(0x9300);
}

/* rs_link reads an Ethernet header and VLAN tags, and leaves the EtherType. */
static __always_inline int rs_link(RS_CTX *ctx, struct rs_packet *p, __be16 *type)
{
	struct rs_tag tag;

	if (rs_read(ctx, p->off + 12, type, 2))
		return RS_TRUNCATED;
	p->off += 14;
#pragma unroll
	for (int i = 0; i < RS_TAGS; i++) {
		if (!rs_is_tag(*type))
			return RS_OK;
		if (RS_READ(ctx, p->off, &tag))
			return RS_TRUNCATED;
		if (p->vlan < 0)
			p->vlan = bpf_ntohs(tag.tci) & 0xfff;
		*type = tag.type;
		p->off += 4;
	}
	return rs_is_tag(*type) ? RS_LINK : RS_OK;
}

struct rs_ipv4 {
	__u8 version_length, tos;
	__be16 len, id, fragment;
	__u8 ttl, proto;
	__be16 sum;
	__be32 src, dst;
};

struct rs_ipv6 {
	__u8 version_class, class_label;
	__be16 label;
	__be16 len;
	__u8 next, hops;
	struct rs_addr src, dst;
};

struct rs_extension {
	__u8 next, len;
	__be16 offset; /* of a fragment header, with flags */
	__be32 id;
};

/* rs_mapped is an IPv4 address as an IPv6 one. */
static __always_inline struct rs_addr rs_mapped(__be32 a)
{
	return (struct rs_addr){0, (__be64)a << 32 | bpf_htonl(0xffff)};
}

/* rs_fragmented notes that p is a fragment: offset and more-fragments bit in units of 8 bytes. */
static __always_inline void rs_fragmented(struct rs_packet *p, __u32 offset, __u32 id)
{
	if (p->fragment == RS_WHOLE) {
		p->datagram.src = p->src;
		p->datagram.dst = p->dst;
		p->datagram.id = id;
		p->datagram.proto = p->proto;
	}
	p->fragment = p->fragment != RS_WHOLE ? RS_MIXED : offset ? RS_LATER : RS_FIRST;
}

/*
 * rs_extensions skips the extension headers at p->off (RFC 8200 section 4), and the
 * authentication header of either IP version. It is a function of its own, which
 * the verifier checks once, for any p.
 */
__noinline int rs_extensions(RS_CTX *ctx, struct rs_packet *p)
{
	struct rs_extension x;

	if (!p)
		return RS_EXTENSION;
	for (int i = 0; i < RS_EXTENSIONS; i++) {
		__u32 size;
		__u8 proto = p->proto;

		if (proto != RS_HOPOPTS && proto != RS_ROUTING && proto != RS_FRAGMENT && proto != RS_AH &&
		    proto != RS_DSTOPTS)
			return RS_OK;
		if (RS_READ(ctx, p->off, &x))
			return RS_TRUNCATED;
		size = 8 + 8 * x.len;
		if (proto == RS_FRAGMENT)
			size = 8;
		if (proto == RS_AH)
			size = 8 + 4 * x.len;
		p->proto = x.next;
		p->off += size;
		if (p->off > p->end)
			return RS_EXTENSION;
		/* An offset of 0 with no more fragments is a whole datagram (RFC 6946). */
		if (proto == RS_FRAGMENT && x.offset & bpf_htons(0xfff9)) {
			__u32 offset = bpf_ntohs(x.offset) & 0xfff8;

			rs_fragmented(p, offset, x.id);
			if (offset)
				return RS_OK;
		}
	}
	return RS_EXTENSION;
}

static __always_inline int rs_read_ipv4(RS_CTX *ctx, struct rs_packet *p)
{
	struct rs_ipv4 h;
	__u32 size, len, bits;

	if (RS_READ(ctx, p->off, &h))
		return RS_TRUNCATED;
	size = (h.version_length & 15) * 4;
	len = bpf_ntohs(h.len);
	if (h.version_length >> 4 != 4 || size < 20)
		return RS_BAD_IP;
	/* Segmentation offload leaves the length to the network card. */
	p->end = len ? p->off + len : p->limit;
	p->off += size;
	if (p->end < p->off)
		return RS_BAD_IP;
	p->src = rs_mapped(h.src);
	p->dst = rs_mapped(h.dst);
	p->proto = h.proto;
	p->ttl = h.ttl;
	p->dscp = h.tos >> 2;
	p->six = 0;
	bits = bpf_ntohs(h.fragment) & 0x3fff;
	if (bits)
		rs_fragmented(p, bits & 0x1fff, h.id);
	if (h.proto == RS_AH && p->fragment < RS_LATER)
		return rs_extensions(ctx, p);
	return RS_OK;
}

static __always_inline int rs_read_ipv6(RS_CTX *ctx, struct rs_packet *p)
{
	struct rs_ipv6 h;

	if (RS_READ(ctx, p->off, &h))
		return RS_TRUNCATED;
	if (h.version_class >> 4 != 6)
		return RS_BAD_IP;
	p->off += 40;
	p->end = h.len ? p->off + bpf_ntohs(h.len) : p->limit;
	p->src = h.src;
	p->dst = h.dst;
	p->proto = h.next;
	p->ttl = h.hops;
	p->dscp = (h.version_class << 2 & 0x3c) | h.class_label >> 6;
	p->six = 1;
	if (h.next == RS_UDP || h.next == RS_TCP)
		return RS_OK;
	return rs_extensions(ctx, p);
}

/* rs_network reads the IP header that an EtherType announces. */
static __always_inline int rs_network(RS_CTX *ctx, struct rs_packet *p, __be16 type)
{
	if (type == bpf_htons(RS_ETH_IP))
		return rs_read_ipv4(ctx, p);
	if (type == bpf_htons(RS_ETH_IP6))
		return rs_read_ipv6(ctx, p);
	return RS_LINK;
}

struct rs_udp {
	__be16 sport, dport, len, sum;
};

struct rs_ports {
	__be16 sport, dport;
};

/* rs_transport reads the ports, and of UDP where the payload begins and how long it is. */
static __always_inline int rs_transport(RS_CTX *ctx, struct rs_packet *p)
{
	struct rs_ports ports;
	struct rs_udp udp;
	__u32 len;

	if (p->fragment >= RS_LATER)
		return RS_OK;
	switch (p->proto) {
	case RS_UDP:
		if (RS_READ(ctx, p->off, &udp))
			return RS_TRUNCATED;
		p->sport = udp.sport;
		p->dport = udp.dport;
		/* No length: a jumbogram, or segmentation offload. */
		len = udp.len ? bpf_ntohs(udp.len) : p->end - p->off;
		if (p->off + 8 > p->end || len < 8)
			return RS_BAD_UDP;
		p->len = len - 8;
		p->off += 8;
		return RS_OK;
	case RS_TCP:
	case RS_SCTP:
		if (RS_READ(ctx, p->off, &ports))
			return RS_TRUNCATED;
		p->sport = ports.sport;
		p->dport = ports.dport;
		return RS_OK;
	case RS_ICMP:
	case RS_IGMP:
	case RS_ICMP6:
		return RS_OK; /* understood, and of no use */
	case RS_IPIP:
	case RS_6IN4:
	case RS_GRE:
	case RS_ESP:
	case RS_ETHERIP:
	case RS_L2TP:
	case RS_MPLS:
		return RS_TUNNEL;
	}
	return RS_PROTOCOL;
}

/* rs_plain is the headers of a plain frame, which stay in registers: see rs_read_plain. */
struct rs_plain {
	__be32 src, dst;
	__be16 sport, dport;
	__u32 end; /* where the IP payload ends */
	__u32 len; /* octets of payload on the wire */
	__u8 ttl, dscp;
};

/* Where the payload of a plain frame begins. */
#define RS_PLAIN 42

/*
 * rs_read_plain reads a frame of UDP over IPv4 without tag, options and fragments as
 * rs_link, rs_network and rs_transport do, where every field has its place. It says
 * whether the frame is one that they would find nothing wrong with.
 */
static __always_inline bool rs_read_plain(RS_CTX *ctx, struct rs_plain *h)
{
#ifdef RS_SOCKET
	return false;
#else
	const void *data = (void *)(long)ctx->data;
	__u32 len, udp;

	if (data + RS_PLAIN > (void *)(long)ctx->data_end)
		return false;
	/* EtherType, version and length of the IP header; flags and offset, protocol. */
	if ((RS_AT(__be32, data, 12) & bpf_htonl(0xffffff00)) != bpf_htonl(0x08004500) ||
	    (RS_AT(__be32, data, 20) & bpf_htonl(0x3fff00ff)) != bpf_htonl(RS_UDP))
		return false;
	len = bpf_ntohs(RS_AT(__be16, data, 16));
	udp = bpf_ntohs(RS_AT(__be16, data, 38));
	if (len < 28 || udp < 8)
		return false;
	h->src = RS_AT(__be32, data, 26);
	h->dst = RS_AT(__be32, data, 30);
	h->sport = RS_AT(__be16, data, 34);
	h->dport = RS_AT(__be16, data, 36);
	h->end = 14 + len;
	h->len = udp - 8;
	h->ttl = RS_AT(__u8, data, 22);
	h->dscp = RS_AT(__u8, data, 15) >> 2;
	return true;
#endif
}

/* rs_take_plain is what rs_link, rs_network and rs_transport leave of a plain frame. */
static __always_inline void rs_take_plain(struct rs_packet *p, const struct rs_plain *h)
{
	p->src = rs_mapped(h->src);
	p->dst = rs_mapped(h->dst);
	p->off = RS_PLAIN;
	p->end = h->end;
	p->len = h->len;
	p->sport = h->sport;
	p->dport = h->dport;
	p->proto = RS_UDP;
	p->ttl = h->ttl;
	p->dscp = h->dscp;
}

#endif

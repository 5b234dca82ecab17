/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * tunnel.h: one level of tunnel. The names and the checks are those of
 * dataplane/decode; what fails one is left to user space.
 */
#ifndef RINGSIDE_TUNNEL_H
#define RINGSIDE_TUNNEL_H

#include "packet.h"

/* What a tunnel carries where it does not say so: IP of the version in the first four bits. */
#define RS_BY_VERSION 0

#define RS_PORT_GTPU 2152
#define RS_PORT_GENEVE 6081

struct rs_word {
	__be32 v;
};

struct rs_gre {
	__be16 flags, type;
};

/* rs_open_gre skips a GRE header (RFC 2890), and that of ERSPAN type II or III behind it. */
static __always_inline int rs_open_gre(RS_CTX *ctx, struct rs_packet *p, __be16 *type)
{
	struct rs_gre h;
	struct rs_word w;
	bool sequenced;

	if (RS_READ(ctx, p->off, &h))
		return RS_TRUNCATED;
	/* Neither source routes nor another version than 0. */
	if (h.flags & bpf_htons(0x4007))
		return RS_TUNNEL;
	sequenced = h.flags & bpf_htons(0x1000);
	p->off += 4;
	if (h.flags & bpf_htons(0x8000))
		p->off += 4;
	if (h.flags & bpf_htons(0x2000))
		p->off += 4;
	if (sequenced)
		p->off += 4;
	*type = h.type;
	switch (bpf_ntohs(h.type)) {
	case RS_ETH_IP:
	case RS_ETH_IP6:
	case RS_ETH_BRIDGED:
		return RS_OK;
	case 0x88be: /* ERSPAN type I has no header, type II has one */
		*type = bpf_htons(RS_ETH_BRIDGED);
		if (!sequenced)
			return RS_OK;
		if (RS_READ(ctx, p->off, &w))
			return RS_TRUNCATED;
		p->off += 8;
		return bpf_ntohl(w.v) >> 28 == 1 ? RS_OK : RS_TUNNEL;
	case 0x22eb: /* type III (draft-foschiano-erspan) */
		if (RS_READ(ctx, p->off, &w))
			return RS_TRUNCATED;
		if (bpf_ntohl(w.v) >> 28 != 2)
			return RS_TUNNEL;
		if (RS_READ(ctx, p->off + 8, &w))
			return RS_TRUNCATED;
		p->off += bpf_ntohl(w.v) & 1 ? 20 : 12; /* platform subheader */
		switch (bpf_ntohl(w.v) >> 10 & 0x1f) {
		case 0:
			*type = bpf_htons(RS_ETH_BRIDGED);
			return RS_OK;
		case 2:
			*type = RS_BY_VERSION;
			return RS_OK;
		}
	}
	return RS_TUNNEL;
}

struct rs_shim {
	__u8 b[8];
};

/* rs_open_gtpu skips the header of a G-PDU (3GPP TS 29.281 section 5). */
static __always_inline int rs_open_gtpu(RS_CTX *ctx, struct rs_packet *p, const struct rs_shim *h)
{
	struct rs_word w;
	__u32 end = p->off + 8 + (h->b[2] << 8 | h->b[3]);

	if ((h->b[0] & 0xf0) != 0x30 || h->b[1] != 0xff)
		return RS_TUNNEL;
	if (end < p->limit)
		p->limit = end;
	p->off += 8;
	if (!(h->b[0] & 7))
		return RS_OK;
	if (RS_READ(ctx, p->off, &w))
		return RS_TRUNCATED;
	p->off += 4;
	if (!(h->b[0] & 4))
		return RS_OK;
	for (int i = 0; i < 4; i++) { /* extension headers; the last byte of each names the next */
		__u8 size, next = bpf_ntohl(w.v);

		if (!next)
			return RS_OK;
		if (rs_read(ctx, p->off, &size, 1) || !size)
			return RS_TUNNEL;
		p->off += size * 4;
		if (rs_read(ctx, p->off - 4, &w, 4))
			return RS_TRUNCATED;
	}
	return RS_TUNNEL;
}

/* rs_open_udp skips the header of a tunnel in UDP: of Geneve, VXLAN and its generic form, or GTP-U. */
static __always_inline int rs_open_udp(RS_CTX *ctx, struct rs_packet *p, __be16 *type)
{
	struct rs_shim h;
	__u32 end = p->off + p->len;

	if (RS_READ(ctx, p->off, &h))
		return RS_TRUNCATED;
	p->limit = end < p->end ? end : p->end;
	if (p->dport == bpf_htons(RS_PORT_GTPU)) {
		int r = rs_open_gtpu(ctx, p, &h);
		__u8 first;

		if (r != RS_OK)
			return r;
		if (rs_read(ctx, p->off, &first, 1))
			return RS_TRUNCATED;
		/* Ethernet in 5G looks like anything. */
		*type = RS_BY_VERSION;
		return first >> 4 == 4 || first >> 4 == 6 ? RS_OK : RS_TUNNEL;
	}
	if (p->dport == bpf_htons(RS_PORT_GENEVE)) {
		*type = bpf_htons(h.b[2] << 8 | h.b[3]);
		p->off += 8 + (h.b[0] & 0x3f) * 4;
		return h.b[0] >> 6 == 0 ? RS_OK : RS_TUNNEL;
	}
	p->off += 8;
	*type = bpf_htons(RS_ETH_BRIDGED);
	if ((h.b[0] & 0x7f) == 0x08 && h.b[3] == 0)
		return RS_OK;
	if ((h.b[0] & 0xf8) != 0x08) /* 4: the next protocol is given; 3: flags of no matter here */
		return RS_TUNNEL;
	switch (h.b[3]) {
	case 1:
	case 2:
		*type = RS_BY_VERSION;
		return RS_OK;
	case 0:
	case 3:
		return RS_OK;
	}
	return RS_TUNNEL;
}

/*
 * rs_open goes into the tunnel that p has come to, by its protocol or its UDP port,
 * and reads on to the ports in it. It is checked once by the verifier, for any p.
 */
__noinline int rs_open(RS_CTX *ctx, struct rs_packet *p)
{
	__be16 type = RS_BY_VERSION;
	int r = RS_OK;

	if (!p)
		return RS_TUNNEL;
	switch (p->proto) {
	case RS_GRE:
		p->limit = p->end;
		r = rs_open_gre(ctx, p, &type);
		break;
	case RS_UDP:
		r = rs_open_udp(ctx, p, &type);
		break;
	case RS_IPIP:
		p->limit = p->end;
		type = bpf_htons(RS_ETH_IP);
		break;
	case RS_6IN4:
		p->limit = p->end;
		type = bpf_htons(RS_ETH_IP6);
		break;
	default:
		return RS_TUNNEL;
	}
	if (r != RS_OK)
		return r;
	p->tunnelled = 1;
	if (type == bpf_htons(RS_ETH_BRIDGED)) {
		r = rs_link(ctx, p, &type);
		if (r != RS_OK)
			return r;
	} else if (type == RS_BY_VERSION) {
		__u8 first;

		if (rs_read(ctx, p->off, &first, 1))
			return RS_TRUNCATED;
		type = bpf_htons(first >> 4 == 6 ? RS_ETH_IP6 : RS_ETH_IP);
	}
	r = rs_network(ctx, p, type);
	if (r != RS_OK)
		return r;
	/* Longer than what carries it: sliced on the way, or no tunnel at all. Of a fragment that is as it should be. */
	if (p->end > p->limit && p->fragment == RS_WHOLE)
		return RS_TUNNEL;
	r = rs_transport(ctx, p);
	return r == RS_TUNNEL ? RS_NESTED : r;
}

#endif

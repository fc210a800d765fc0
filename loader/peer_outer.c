/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where a peer is outside: its address and port, which the kernel's states and
 * the reflector's entry follow; and the sockets through which ESP in UDP comes.
 */
#include "loader/peer_internal.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/log.h"

/* The keeper of the run before, if there is one, with the sockets that it has. */
void peers_find_keeper(struct peers *peers, bool start)
{
	int err;

	if (peers->keeper || !*peers->node->keeper_path)
		return;
	err = keeper_open(peers->node->keeper_path, start, &peers->keeper, peers->encap, &peers->n_encap);
	if (err && (start || err != -ENOENT))
		log_warning("the keeper of UDP port %d: %s: sessions with ESP in UDP would not survive a crash",
			    HF_UDP_ENCAP_PORT, strerror(-err));
}

/* ESP in UDP reaches the kernel's states only through a socket that says so; one per local address. */
int peers_need_encap(struct peers *peers, const struct hf_addr *local)
{
	int fd, err;

	if (!peers->n_encap)
		peers_find_keeper(peers, true);

	for (size_t i = 0; i < peers->n_encap; i++)
		if (addr_equal(&peers->encap[i].local, local))
			return 0;
	if (peers->n_encap == KEEPER_SOCKETS_MAX)
		return -ENOSPC;
	fd = xfrm_encap_open(local, HF_UDP_ENCAP_PORT);
	if (fd < 0)
		return fd;
	peers->encap[peers->n_encap].local = *local;
	peers->encap[peers->n_encap++].fd = fd;
	err = peers->keeper ? keeper_add(peers->keeper, local, fd) : 0;
	if (err)
		log_warning("the keeper of UDP port %d: %s", HF_UDP_ENCAP_PORT, strerror(-err));
	return 0;
}

int peer_enter_outer(struct peer *peer)
{
	return datapath_set_outer(peer->peers->node->dp, &peer->remote, peer->port, peer->if_id,
				  peer->role == HF_ROLE_CLIENT);
}

/*
 * The peer is no longer at this address and port. Peers behind one translator
 * share its address, and, until a packet has shown it, the port that is
 * assumed: then the entry is another's.
 */
void peer_leave_outer(struct peer *peer, const struct hf_addr *remote, __u16 port)
{
	for (struct peer *other = peer->peers->first; other; other = other->next) {
		if (other == peer || !other->up || other->port != port || !addr_equal(&other->remote, remote))
			continue;
		peer_enter_outer(other);
		return;
	}
	datapath_del_outer(peer->peers->node->dp, remote, port);
}

/*
 * The lifetime that a state which is moved ends with when it would have ended. The kernel counts it from add_time, by the
 * clock of the day, and looks at it anew when a state is updated (xfrm_timer_handler() in net/xfrm/xfrm_state.c): where that
 * clock has jumped since, it is not the one that the state was added with. Never 0, which is none; where the clock was set back
 * further than the state is old, later, and the session's own time ends it.
 */
static __u32 lifetime_from_now(const struct peer *peer, const struct hf_addr *dst, __u32 spi)
{
	__u64 age_s = peer->established_ns ? (clock_now_ns() - peer->established_ns) / CLOCK_NS_PER_S : 0;
	struct xfrm_state_use use;
	__s64 lifetime_s;

	if (!peer->lifetime_s || age_s >= peer->lifetime_s ||
	    xfrm_state_read(peer->peers->node->xfrm, dst, spi, &use))
		return peer->lifetime_s;
	lifetime_s = (__s64)time(NULL) - (__s64)use.added_s + (__s64)(peer->lifetime_s - age_s);
	return lifetime_s < 1 ? 1 : lifetime_s > UINT32_MAX ? UINT32_MAX : (__u32)lifetime_s;
}

static int move_state(const struct peer *peer, enum xfrm_way way, __u32 spi, __u16 port)
{
	const struct hf_addr *dst = way == XFRM_WAY_IN ? &peer->local : &peer->remote;
	struct xfrm_state_spec spec = { .way = way, .local = peer->local, .remote = peer->remote, .spi = spi,
					.if_id = peer->if_id, .algorithm = peer->algorithm,
					.lifetime_s = lifetime_from_now(peer, dst, spi), .limits = peer->limits,
					.encap_local = HF_UDP_ENCAP_PORT, .encap_remote = port };

	return xfrm_state_move(peer->peers->node->xfrm, &spec);
}

/* A packet may come before the session stands in both directions. */
static void follow_pending(struct peer *peer, __u16 port)
{
	struct kms_session *pending = peer->pending;
	struct peer like = { .peers = peer->peers, .local = pending->local, .remote = pending->remote,
			     .if_id = peer->if_id, .algorithm = pending->algorithm, .lifetime_s = pending->lifetime_s,
			     .limits = peer->pending_limits };

	pending->remote_port = port;
	move_state(&like, XFRM_WAY_IN, pending->spi_in, port);
}

/* Where an exchange broke off, or is just over, the other end sends through the state of the one before. */
static bool is_in_use(const struct peer *peer, __u32 spi)
{
	return peer->spi_in == spi || peer_is_fading(peer, spi);
}

/*
 * The peer's packets come from another port: something translates addresses. What goes to it goes there from now on. Not
 * followed: another address, for which the states would have to be made anew.
 */
void peers_follow(void *context, const struct mapping_change *change)
{
	struct peer *peer = peers_by_if_id(context, change->if_id);
	__u16 before;
	int err;

	if (peer && peer->pending && peer->pending->spi_in == change->spi) {
		if (addr_equal(&peer->pending->remote, &change->remote))
			follow_pending(peer, change->port);
		return;
	}
	if (!peer || !peer->up || !peer->port || !is_in_use(peer, change->spi) || peer->port == change->port ||
	    !addr_equal(&peer->remote, &change->remote))
		return;
	log_info("%s (%s) sends from port %u, before: %u", addr_text(&peer->remote).s, peer->name, change->port, peer->port);
	before = peer->port;
	peer->port = change->port;
	peer_leave_outer(peer, &peer->remote, before);
	err = peer_enter_outer(peer);
	if (!err)
		err = move_state(peer, XFRM_WAY_IN, peer->spi_in, peer->port);
	if (!err)
		err = move_state(peer, XFRM_WAY_OUT, peer->spi_out, peer->port);
	peers_record(peer);
	if (err)
		log_warning("%s (%s): port %u: %s", addr_text(&peer->remote).s, peer->name, peer->port, strerror(-err));
}

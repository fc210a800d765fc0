/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Peers and what the kernel has already: their records for the next run, the
 * sessions of the run before that go on, whether states stand, and the removal
 * of what is nobody's.
 */
#include "loader/peer_internal.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/session_record.h"
#include "loader/shortage.h"

void peers_record(struct peer *peer)
{
	struct node *node = peer->peers->node;
	struct hf_session record;
	int err;

	if (!peer->up)
		return;
	session_record_fill(peer, node->grants, &record);
	err = datapath_set_session(node->dp, peer->if_id, &record);
	if (err && !shortage_met(err, true, "recording a session: a crash would end it"))
		log_warning("%s (%s): its session cannot be recorded (%s): a crash would end it", addr_text(&peer->remote).s,
			    peer->name, strerror(-err));
}

/* Where the kernel cannot say it now (no memory, no room for the answer), it does: a living session is not ended for that. */
static bool state_stands(struct peers *peers, __u32 if_id, const struct hf_addr *dst, __u32 spi)
{
	struct xfrm_state_use use = { .if_id = if_id };
	int err = xfrm_state_read(peers->node->xfrm, dst, spi, &use);

	return err != -ESRCH && use.if_id == if_id;
}

static bool record_is_alive(struct peers *peers, __u32 if_id, const struct hf_session *record)
{
	__u64 age_s = (clock_now_ns() - record->established_ns) / CLOCK_NS_PER_S;

	return clock_now_ns() >= record->established_ns && (!record->lifetime_s || age_s < record->lifetime_s) &&
	       state_stands(peers, if_id, &record->local, record->spi_in) &&
	       state_stands(peers, if_id, &record->remote, record->spi_out);
}

int peers_adopt(struct peers *peers, __u32 if_id, const struct hf_session *record, struct peer **ret_peer)
{
	struct kms_session session;
	struct xfrm_peer ends;
	struct peer *peer;
	int err;

	if (session_record_read(record, &session) || (if_id & XFRM_IF_ID_MASK) != XFRM_IF_ID_BASE ||
	    !record_is_alive(peers, if_id, record))
		return -ESTALE;
	/* Of clients there may be several behind one translator. */
	if (peers_by_if_id(peers, if_id) ||
	    (record->role == HF_ROLE_GATEWAY && peers_find(peers, HF_ROLE_GATEWAY, &record->remote)))
		return -EEXIST;
	err = session.encapsulation == KMS_ENCAP_UDP ? peers_need_encap(peers, &session.local) : 0;
	if (err)
		return err;
	ends = (struct xfrm_peer){ .local = session.local, .remote = session.remote, .if_id = if_id };
	err = xfrm_policy_add(peers->node->xfrm, &ends);
	if (!err)
		err = datapath_set_peer(peers->node->dp, if_id, &session.remote, record->role);
	if (err)
		return err;
	peer = peer_new(peers, &session);
	if (!peer)
		return -ENOMEM;
	peer->if_id = if_id;
	peer_take(peer, &session, record->established_ns);
	peer->slot = record->slot;
	peer->named_bits = record->named;
	peer->claimed = record->claimed;
	err = peer_enter_outer(peer);
	if (err) {
		peer_unlink(peer);
		return err;
	}
	*ret_peer = peer;
	return 0;
}

bool peers_stand(const struct peer *peer)
{
	return state_stands(peer->peers, peer->if_id, &peer->local, peer->spi_in) &&
	       state_stands(peer->peers, peer->if_id, &peer->remote, peer->spi_out);
}

bool peers_pending_stands(const struct peer *peer)
{
	return !peer->pending || state_stands(peer->peers, peer->if_id, &peer->pending->local, peer->pending->spi_in);
}

int peers_restore_policies(struct peers *peers)
{
	int err = 0;

	for (struct peer *peer = peers->first; peer && !err; peer = peer->next) {
		struct xfrm_peer ends = { .local = peer->local, .remote = peer->remote, .if_id = peer->if_id };

		err = xfrm_policy_add(peers->node->xfrm, &ends);
	}
	return err;
}

struct sweep {
	struct peers *peers;
	size_t n;
};

/* A state that is the peer's own: by which limits it goes, and whether the run before was told of one and came to nothing. */
static void go_on(struct peer *peer, const struct xfrm_found *state)
{
	peer->limits = state->limits;
	if (state->spent)
		peer_expiry_after(peer, 0);
}

/*
 * The run before was killed when it had added the state and not yet written the record: the kernel sends through it, the other
 * end, which has confirmed, receives it, and may have forgotten what was before. To the second, as the kernel itself.
 */
static bool is_successor(const struct peer *peer, const struct xfrm_found *state)
{
	struct xfrm_state_use use;

	return !xfrm_state_read(peer->peers->node->xfrm, &peer->remote, peer->spi_out, &use) && state->added_s > use.added_s;
}

static void succeed(struct peer *peer, const struct xfrm_found *state)
{
	peer_fade_outbound(peer, &peer->remote, peer->spi_out);
	peer->spi_out = state->spi;
	peers_record(peer);
	peer_renew_soon(peer); /* its other half is not known */
	go_on(peer, state);
}

static int sweep_state(void *context, const struct xfrm_found *state)
{
	struct sweep *sweep = context;
	struct peer *peer = peers_by_if_id(sweep->peers, state->if_id);
	bool in = peer && addr_equal(&state->dst, &peer->local), out = peer && addr_equal(&state->dst, &peer->remote);

	if ((in && state->spi == peer->spi_in) || (out && state->spi == peer->spi_out)) {
		go_on(peer, state);
		return 0;
	}
	if (out && is_successor(peer, state)) {
		succeed(peer, state);
		return 0;
	}
	if (out && peer_is_fading(peer, state->spi))
		return 0;
	sweep->n++;
	if (!in)
		return xfrm_state_delete(sweep->peers->node->xfrm, &state->dst, state->spi);
	/* Of an exchange under way, or one that was replaced: the run before has not said which. */
	peer_fade_inbound(peer, &state->dst, state->spi, clock_now_ns());
	peer_renew_soon(peer);
	return 0;
}

static int sweep_policy(void *context, __u32 if_id)
{
	struct sweep *sweep = context;

	if (peers_by_if_id(sweep->peers, if_id))
		return 0;
	sweep->n++;
	return xfrm_policy_delete(sweep->peers->node->xfrm, if_id);
}

int peers_sweep(struct peers *peers, size_t *ret_n)
{
	struct sweep sweep = { .peers = peers };
	int err = xfrm_state_list(peers->node->xfrm, sweep_state, &sweep);

	if (!err)
		err = xfrm_policy_list(peers->node->xfrm, sweep_policy, &sweep);
	*ret_n = sweep.n;
	return err;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/status.h"
#include "loader/shortage.h"

#include <sys/utsname.h>
#include <unistd.h>

/* Drop reasons that are heartbeats a gateway did not answer. */
static const enum hf_drop refusals[] = { HF_DROP_beat_malformed, HF_DROP_beat_stranger, HF_DROP_beat_unasked,
					 HF_DROP_beat_gate, HF_DROP_beat_rate };

/* What holdfastd has lost of the packets that count as held stands beside the datapath's reasons. */
static json_t *drops_json(const __u64 *drops, __u64 held_lost)
{
	json_t *json = json_object();

	for (int i = 0; i < HF_DROP_MAX; i++)
		json_object_set_new(json, datapath_drop_name(i), json_integer((json_int_t)drops[i]));
	json_object_set_new(json, "held_lost", json_integer((json_int_t)held_lost));
	return json;
}

static json_t *shortages_json(void)
{
	json_t *json = json_array();

	for (enum shortage_kind kind = 0; kind < SHORTAGE_KINDS; kind++)
		if (shortage_is_on(kind))
			json_array_append_new(json, json_string(shortage_name(kind)));
	return json;
}

json_t *status_json(const struct status_sources *s)
{
	__u64 drops[HF_DROP_MAX] = { 0 };
	struct clusters_counts counts;
	struct utsname uts;
	__u64 refused = 0;

	uname(&uts);
	datapath_read_drops(s->node->dp, drops);
	clusters_count(s->clusters, &counts);
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++)
		refused += drops[refusals[i]];
	return json_pack("{s:s, s:s, s:i, s:s, s:o, s:o, s:{s:s, s:s}, s:o, s:{s:I, s:I, s:I, s:I, s:I}, s:I, s:o}",
			 "instance", s->instance, "version", HF_VERSION, "pid", (int)getpid(), "kernel", uts.release,
			 "clusters", clusters_status(s->clusters), "clients", clients_status(s->clients), "health", "gate",
			 gate_is_open(s->gate) ? "open" : "closed", "reason", gate_reason(s->gate), "drops",
			 drops_json(drops, s->node->held_lost), "heartbeats", "sent", (json_int_t)counts.sent, "answered",
			 (json_int_t)counts.answered, "missed", (json_int_t)counts.missed, "reflected",
			 (json_int_t)clients_reflected(s->clients), "refused", (json_int_t)refused, "failovers",
			 (json_int_t)counts.failovers, "shortages", shortages_json());
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loader/datapath_attach.h"
#include "loader/datapath_internal.h"

static const char *name_of(unsigned int ifindex, char buffer[static IF_NAMESIZE])
{
	return if_indextoname(ifindex, buffer) ? buffer : "(an interface that is gone)";
}

/* Remembers what datapath_remove() has to detach. */
static int interface_add(struct datapath *dp, unsigned int ifindex, enum datapath_place place)
{
	for (size_t i = 0; i < dp->n_interfaces; i++)
		if (dp->interfaces[i].ifindex == ifindex && dp->interfaces[i].place == place)
			return 0;
	if (dp->n_interfaces == DATAPATH_INTERFACES_MAX)
		return -ENOSPC;
	dp->interfaces[dp->n_interfaces].ifindex = ifindex;
	dp->interfaces[dp->n_interfaces].place = place;
	dp->n_interfaces++;
	return 0;
}

static void interface_del(struct datapath *dp, unsigned int ifindex, enum datapath_place place)
{
	for (size_t i = 0; i < dp->n_interfaces; i++)
		if (dp->interfaces[i].ifindex == ifindex && dp->interfaces[i].place == place) {
			dp->interfaces[i] = dp->interfaces[--dp->n_interfaces];
			return;
		}
}

int datapath_attach_tunnel(struct datapath *dp, unsigned int ifindex, struct datapath_report *report)
{
	char name[IF_NAMESIZE];
	int result;

	datapath_log_start();
	result = interface_add(dp, ifindex, DATAPATH_TUNNEL);
	/* Out before in: nothing may leave in clear. */
	if (!result)
		result = datapath_tc_attach(ifindex, BPF_TC_EGRESS, bpf_program__fd(dp->skel->progs.hf_tc_encrypt));
	if (!result)
		result = datapath_tc_attach(ifindex, BPF_TC_INGRESS,
					    bpf_program__fd(dp->skel->progs.hf_tc_decrypted));
	if (result)
		datapath_report_set(report, result, "cannot attach the TC programs to %s: %s",
				    name_of(ifindex, name), strerror(-result));
	return result;
}

static bool has_both(unsigned int ifindex)
{
	return datapath_tc_is_attached(ifindex, BPF_TC_EGRESS) && datapath_tc_is_attached(ifindex, BPF_TC_INGRESS);
}

int datapath_restore_tunnel(struct datapath *dp, unsigned int ifindex, struct datapath_report *report,
			    struct datapath_attached *ret_attached)
{
	ret_attached->missed = !has_both(ifindex);
	return datapath_attach_tunnel(dp, ifindex, report);
}

/* Whether packets begin with their IP header there: ppp, tun and the like. */
static bool is_bare(unsigned int ifindex)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	bool bare;

	if (fd < 0)
		return false;
	bare = if_indextoname(ifindex, request.ifr_name) && !ioctl(fd, SIOCGIFHWADDR, &request) &&
	       request.ifr_hwaddr.sa_family != ARPHRD_ETHER && request.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK;
	close(fd);
	return bare;
}

static int attach_underlay(struct datapath *dp, unsigned int ifindex, bool always, struct datapath_report *report,
			   struct datapath_attached *ret_attached)
{
	bool bare = is_bare(ifindex);
	bool missed = !has_both(ifindex);
	char name[IF_NAMESIZE];
	int result;

	datapath_log_start();
	result = interface_add(dp, ifindex, DATAPATH_UNDERLAY);
	/* Out before in, here as well. */
	if (!result)
		result = datapath_tc_attach(ifindex, BPF_TC_EGRESS,
					    bpf_program__fd(dp->skel->progs.hf_tc_underlay_out));
	if (!result)
		result = datapath_tc_attach(ifindex, BPF_TC_INGRESS,
					    bpf_program__fd(bare ? dp->skel->progs.hf_tc_bare :
								   dp->skel->progs.hf_tc_underlay));
	if (!result && bare) {
		*ret_attached = (struct datapath_attached){.mode = DATAPATH_XDP_NONE, .missed = missed};
		return 0;
	}
	if (result)
		return datapath_report_set(report, result, "cannot attach the TC programs to %s: %s",
					   name_of(ifindex, name), strerror(-result));
	if (always || !datapath_xdp_is_attached(ifindex)) {
		result = datapath_xdp_attach(dp, ifindex, report, ret_attached);
		missed = missed || !result;
	}
	ret_attached->missed = missed;
	if (bpf_xdp_query_id((int)ifindex, 0, &ret_attached->xdp_id))
		ret_attached->xdp_id = 0;
	return result;
}

int datapath_attach_underlay(struct datapath *dp, unsigned int ifindex, struct datapath_report *report,
			     struct datapath_attached *ret_attached)
{
	return attach_underlay(dp, ifindex, true, report, ret_attached);
}

int datapath_restore_underlay(struct datapath *dp, unsigned int ifindex, struct datapath_report *report,
			      struct datapath_attached *ret_attached)
{
	return attach_underlay(dp, ifindex, false, report, ret_attached);
}

int datapath_detach_tunnel(struct datapath *dp, unsigned int ifindex)
{
	datapath_log_start();
	interface_del(dp, ifindex, DATAPATH_TUNNEL);
	return datapath_tc_detach(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);
}

int datapath_detach_underlay(struct datapath *dp, unsigned int ifindex)
{
	int tc, xdp;

	datapath_log_start();
	interface_del(dp, ifindex, DATAPATH_UNDERLAY);
	xdp = datapath_xdp_detach(ifindex);
	tc = datapath_tc_detach(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);
	return xdp ? xdp : tc;
}

/* The qdisc of an interface that we are not at is somebody else's, bare or not. */
static int detach_both(unsigned int ifindex)
{
	int xdp = datapath_xdp_detach(ifindex), tc = 0;

	if (datapath_tc_is_attached(ifindex, BPF_TC_INGRESS) || datapath_tc_is_attached(ifindex, BPF_TC_EGRESS))
		tc = datapath_tc_detach(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);
	return xdp ? xdp : tc;
}

int datapath_clear(const char *pin_root, const char *instance)
{
	struct if_nameindex *all = if_nameindex();
	int result = all ? 0 : -errno, one;

	datapath_log_start();
	for (size_t i = 0; all && all[i].if_index; i++) {
		one = detach_both(all[i].if_index);
		result = result ? result : one;
	}
	if_freenameindex(all);
	one = datapath_unpin(pin_root, instance);
	return result ? result : one;
}

int datapath_guard(struct datapath *dp, unsigned int ifindex)
{
	datapath_log_start();
	return datapath_tc_attach(ifindex, BPF_TC_EGRESS, bpf_program__fd(dp->skel->progs.hf_tc_guard));
}

bool datapath_is_guarded(const struct datapath *dp, unsigned int ifindex)
{
	datapath_log_start();
	return datapath_tc_is_attached(ifindex, BPF_TC_EGRESS);
}

int datapath_unguard(struct datapath *dp, unsigned int ifindex)
{
	datapath_log_start();
	return datapath_tc_is_attached(ifindex, BPF_TC_EGRESS) ? datapath_detach_underlay(dp, ifindex) : 0;
}

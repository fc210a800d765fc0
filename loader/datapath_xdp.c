// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * XDP through libxdp, whose dispatcher lets several programs share an
 * interface. It loads each program anew, for its place in the dispatcher; so
 * every interface gets its own copy of ours, which shares the maps.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "loader/datapath_attach.h"
#include "loader/datapath_internal.h"

#define XDP_PROGRAM "hf_xdp_underlay"
#define COPIES_MAX 10 /* libxdp's dispatcher has ten places */

static bool is_ours(const struct xdp_program *program)
{
	const char *name = xdp_program__name(program);

	return name && !strcmp(name, XDP_PROGRAM);
}

/* On veth, XDP_TX of native mode needs a program at the other end too, and loses the packet without a word. */
static bool driver_is_veth(const char *name)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool veth;

	if (fd < 0)
		return false;
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	request.ifr_data = (void *)&info;
	veth = !ioctl(fd, SIOCETHTOOL, &request) && !strcmp(info.driver, "veth");
	close(fd);
	return veth;
}

/* What is attached now: how, and whether it is somebody's who shares with no one. */
struct xdp_present {
	enum xdp_attach_mode mode; /* XDP_MODE_UNSPEC: nothing */
	bool legacy;		   /* without a dispatcher */
	bool ours;		   /* legacy, and ours */
	__u32 id;
};

static void present_look(unsigned int ifindex, struct xdp_present *present)
{
	struct xdp_multiprog *all = xdp_multiprog__get_from_ifindex((int)ifindex);
	struct xdp_program *main_program;

	memset(present, 0, sizeof(*present));
	if (libxdp_get_error(all) || !all)
		return;
	main_program = xdp_multiprog__main_prog(all);
	present->mode = xdp_multiprog__attach_mode(all);
	present->legacy = xdp_multiprog__is_legacy(all);
	present->ours = present->legacy && main_program && is_ours(main_program);
	present->id = main_program ? xdp_program__id(main_program) : 0;
	xdp_multiprog__close(all);
}

/* Detaches our programs but keep, which is 0 for none, from the dispatcher, or the legacy one. */
static int detach_all_but(unsigned int ifindex, __u32 keep)
{
	struct xdp_multiprog *all = xdp_multiprog__get_from_ifindex((int)ifindex);
	struct xdp_program *program = NULL, *gone[COPIES_MAX];
	int result = (int)libxdp_get_error(all);
	size_t n = 0;

	if (result || !all) /* ENODEV: the interface is gone; ENOENT: nothing there */
		return result == -ENOENT || result == -ENODEV || result == -EINVAL ? 0 : result;
	if (xdp_multiprog__is_legacy(all)) {
		program = xdp_multiprog__main_prog(all);
		if (program && is_ours(program) && xdp_program__id(program) != keep)
			gone[n++] = program;
	} else {
		while ((program = xdp_multiprog__next_prog(program, all)) && n < COPIES_MAX)
			if (is_ours(program) && xdp_program__id(program) != keep)
				gone[n++] = program;
	}
	if (n)
		result = xdp_program__detach_multi(gone, n, (int)ifindex, xdp_multiprog__attach_mode(all), 0);
	xdp_multiprog__close(all);
	return result;
}

/* A second copy of the object, for its XDP program only, upon the maps of the first. NULL with errno. */
static struct holdfast_bpf *copy_open(struct datapath *dp)
{
	struct holdfast_bpf *copy = datapath_skeleton_open(&dp->config);
	struct bpf_program *program;
	struct bpf_map *map;
	int result = 0;

	if (!copy)
		return NULL;
	bpf_object__for_each_program(program, copy->obj)
		bpf_program__set_autoload(program, program == copy->progs.hf_xdp_underlay);
	bpf_object__for_each_map(map, copy->obj) {
		const struct bpf_map *own = bpf_object__find_map_by_name(dp->skel->obj, bpf_map__name(map));

		if (!strncmp(bpf_map__name(map), "hf_", 3) && own)
			result = bpf_map__reuse_fd(map, bpf_map__fd(own));
		if (result)
			break;
	}
	if (!result)
		return copy;
	holdfast_bpf__destroy(copy);
	errno = -result;
	return NULL;
}

/* Attaches beside whatever is there, then takes an earlier run's copy away: in between, both are there. */
static int attach_shared(struct datapath *dp, unsigned int ifindex, enum xdp_attach_mode mode)
{
	struct holdfast_bpf *copy = copy_open(dp);
	struct xdp_program *program;
	int result;

	if (!copy)
		return -errno;
	program = xdp_program__from_bpf_obj(copy->obj, "xdp");
	result = (int)libxdp_get_error(program);
	if (!result) {
		result = xdp_program__attach(program, (int)ifindex, mode, 0);
		if (!result)
			result = detach_all_but(ifindex, xdp_program__id(program));
		xdp_program__close(program);
	}
	holdfast_bpf__destroy(copy);
	return result;
}

/* Without libxdp: alone on the interface, or in the place of ours from an earlier run. */
static int attach_alone(struct datapath *dp, unsigned int ifindex, enum xdp_attach_mode mode,
			const struct xdp_present *present)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts);
	__u32 flags = mode == XDP_MODE_SKB ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	int result;

	if (present->id && !present->ours)
		return -EBUSY;
	if (present->id) {
		opts.old_prog_fd = bpf_prog_get_fd_by_id(present->id);
		if (opts.old_prog_fd < 0)
			return opts.old_prog_fd;
		flags |= XDP_FLAGS_REPLACE;
	} else {
		flags |= XDP_FLAGS_UPDATE_IF_NOEXIST;
	}
	result = bpf_xdp_attach((int)ifindex, bpf_program__fd(dp->skel->progs.hf_xdp_underlay), flags, &opts);
	if (present->id)
		close(opts.old_prog_fd);
	return result;
}

/* One mode: shared where that can be, else alone. */
static int attach_in_mode(struct datapath *dp, unsigned int ifindex, enum xdp_attach_mode mode,
			  const struct xdp_present *present, struct datapath_attached *attached)
{
	int shared = -EEXIST, alone;
	struct xdp_present now;

	if (!present->legacy) { /* beside one that shares with no one, libxdp need not be asked */
		shared = attach_shared(dp, ifindex, mode);
		if (!shared) {
			present_look(ifindex, &now);
			attached->dispatcher = !now.legacy;
			if (now.legacy) /* libxdp's own way out */
				snprintf(attached->note, sizeof(attached->note),
					 "this kernel cannot run libxdp's dispatcher: no other XDP program beside ours");
			return 0;
		}
	}
	alone = attach_alone(dp, ifindex, mode, present);
	if (alone)
		return alone == -EBUSY || alone == -EEXIST ? -EBUSY : alone;
	attached->dispatcher = false;
	snprintf(attached->note, sizeof(attached->note), "attached without libxdp's dispatcher (%s)",
		 strerror(-shared));
	return 0;
}

int datapath_xdp_attach(struct datapath *dp, unsigned int ifindex, struct datapath_report *report,
			struct datapath_attached *ret_attached)
{
	struct datapath_attached attached = {0};
	enum xdp_attach_mode mode = XDP_MODE_NATIVE;
	struct xdp_present present;
	char name[IF_NAMESIZE];
	int result;

	if (!if_indextoname(ifindex, name))
		return datapath_report_set(report, -ENODEV, "there is no interface %u", ifindex);
	present_look(ifindex, &present);
	if (present.mode == XDP_MODE_SKB || present.mode == XDP_MODE_NATIVE)
		mode = present.mode; /* an interface has one mode for all its programs */
	else if (driver_is_veth(name))
		mode = XDP_MODE_SKB;
	result = attach_in_mode(dp, ifindex, mode, &present, &attached);
	if (result && result != -EBUSY && mode == XDP_MODE_NATIVE && present.mode == XDP_MODE_UNSPEC) {
		mode = XDP_MODE_SKB;
		if (!attach_in_mode(dp, ifindex, mode, &present, &attached)) {
			snprintf(attached.note, sizeof(attached.note), "the driver takes no native XDP (%s)",
				 strerror(-result));
			result = 0;
		}
	}
	if (result == -EBUSY)
		return datapath_report_set(report, result,
					   "another XDP program holds %s without a dispatcher: detach it "
					   "(ip link set %s xdp off), or load it with xdp-loader",
					   name, name);
	if (result)
		return datapath_report_set(report, result, "cannot attach the XDP program to %s: %s", name,
					   strerror(-result));
	attached.mode = mode == XDP_MODE_SKB ? DATAPATH_XDP_GENERIC : DATAPATH_XDP_NATIVE;
	*ret_attached = attached;
	return 0;
}

int datapath_xdp_detach(unsigned int ifindex)
{
	return detach_all_but(ifindex, 0);
}

bool datapath_xdp_is_attached(unsigned int ifindex)
{
	struct xdp_multiprog *all = xdp_multiprog__get_from_ifindex((int)ifindex);
	struct xdp_program *program = NULL;
	bool found = false;

	if (libxdp_get_error(all) || !all)
		return false;
	if (xdp_multiprog__is_legacy(all)) {
		program = xdp_multiprog__main_prog(all);
		found = program && is_ours(program);
	} else {
		while (!found && (program = xdp_multiprog__next_prog(program, all)))
			found = is_ours(program);
	}
	xdp_multiprog__close(all);
	return found;
}

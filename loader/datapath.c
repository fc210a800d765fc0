// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/datapath.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "lib/clock.h"
#include "loader/datapath_internal.h"

#define REFLECT_PER_SECOND 200
#define REFLECT_BURST 50
/* libbpf would go on while more come in: timers, and all that is not the datapath, have their turn between. */
#define EVENTS_AT_ONCE 256
#define MAP_PREFIX "hf_"
#define VERSION_MAP "hf_version"

/*
 * The end of what libbpf and libxdp last said. They know one print function a
 * process and hand it no context, so this is the one static buffer.
 */
static struct {
	char text[sizeof(((struct datapath_report *)0)->detail)];
	size_t used;
} capture;

__attribute__((format(printf, 1, 0))) static void capture_add(const char *format, va_list args)
{
	const size_t room = sizeof(capture.text) - 1;
	char *said = NULL;
	size_t len, from = 0;
	int n = vasprintf(&said, format, args);

	if (n <= 0)
		return;
	len = (size_t)n;
	if (len > room) { /* the verifier's log comes in one piece, and its end is what tells */
		from = len - room;
		len = room;
	}
	if (capture.used > room - len) {
		memmove(capture.text, capture.text + capture.used - (room - len), room - len);
		capture.used = room - len;
	}
	memcpy(capture.text + capture.used, said + from, len);
	capture.used += len;
	capture.text[capture.used] = '\0';
	free(said);
}

__attribute__((format(printf, 2, 0)))
static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level != LIBBPF_DEBUG)
		capture_add(format, args);
	return 0;
}

__attribute__((format(printf, 2, 0)))
static int print_libxdp(enum libxdp_print_level level, const char *format, va_list args)
{
	if (level != LIBXDP_DEBUG)
		capture_add(format, args);
	return 0;
}

void datapath_log_start(void)
{
	libbpf_set_print(print_libbpf);
	libxdp_set_print(print_libxdp);
	capture.used = 0;
	capture.text[0] = '\0';
}

int datapath_report_set(struct datapath_report *report, int error, const char *format, ...)
{
	va_list args;

	if (!report)
		return error;
	va_start(args, format);
	vsnprintf(report->text, sizeof(report->text), format, args);
	va_end(args);
	memcpy(report->detail, capture.text, sizeof(report->detail));
	return error;
}

struct holdfast_bpf *datapath_skeleton_open(const struct datapath_config *config)
{
	struct holdfast_bpf *skel = holdfast_bpf__open();

	if (!skel)
		return NULL;
	skel->rodata->hf_have_xfrm = !config->without_xfrm;
	skel->data->hf_kms_port = config->key_service_port;
	skel->rodata->hf_reflect_per_second =
		config->reflect_per_second ? config->reflect_per_second : REFLECT_PER_SECOND;
	skel->rodata->hf_reflect_burst = config->reflect_burst ? config->reflect_burst : REFLECT_BURST;
	return skel;
}

/* Pins. */

static int pin_dir_format(char *ret, size_t size, const char *root, const char *instance)
{
	int n;

	if (!*instance || strchr(instance, '/') || !strcmp(instance, ".") || !strcmp(instance, ".."))
		return -EINVAL;
	n = snprintf(ret, size, "%s/%s", root ? root : DATAPATH_PIN_ROOT, instance);
	return n < 0 || (size_t)n >= size - NAME_MAX - 1 ? -ENAMETOOLONG : 0;
}

static int pin_path_format(char ret[static PATH_MAX], const char *dir, const char *map)
{
	int n = snprintf(ret, PATH_MAX, "%s/%s", dir, map);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Makes path, if its nearest ancestor that exists lies in a bpf file system. */
static int pin_dir_make(const char *path)
{
	char parent[PATH_MAX];
	struct statfs fs;
	char *slash;

	snprintf(parent, sizeof(parent), "%s", path);
	while (statfs(parent, &fs)) {
		if (errno != ENOENT)
			return -errno;
		slash = strrchr(parent, '/');
		if (!slash || slash == parent)
			return -ENOTDIR;
		*slash = '\0';
	}
	if ((unsigned long)fs.f_type != BPF_FS_MAGIC)
		return -ENOTDIR;
	for (size_t at = strlen(parent); at < strlen(path); at = strlen(parent)) {
		size_t next = at + 1 + strcspn(path + at + 1, "/");

		memcpy(parent, path, next);
		parent[next] = '\0';
		if (mkdir(parent, 0700) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* Removes the pins of our maps in dir, the version first: half a set is then none. */
static int pin_dir_clear(const char *path)
{
	struct dirent *entry;
	int result = 0;
	DIR *dir;

	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	if (unlinkat(dirfd(dir), VERSION_MAP, 0) && errno != ENOENT)
		result = -errno;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, MAP_PREFIX, strlen(MAP_PREFIX)) &&
		    unlinkat(dirfd(dir), entry->d_name, 0) && errno != ENOENT)
			result = -errno;
	closedir(dir);
	return result;
}

int datapath_unpin(const char *pin_root, const char *instance)
{
	char dir[PATH_MAX];
	int result = pin_dir_format(dir, sizeof(dir), pin_root, instance);

	if (!result)
		result = pin_dir_clear(dir);
	if (!result && rmdir(dir) && errno != ENOENT)
		result = -errno;
	if (!result && rmdir(pin_root ? pin_root : DATAPATH_PIN_ROOT) && errno != ENOENT &&
	    errno != ENOTEMPTY && errno != EBUSY)
		result = -errno; /* the root goes with the last instance */
	return result;
}

bool datapath_is_pinned(const char *pin_root, const char *instance, bool *ret_others)
{
	DIR *dir = opendir(pin_root ? pin_root : DATAPATH_PIN_ROOT);
	struct dirent *entry;
	bool found = false;

	*ret_others = false;
	while (dir && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, instance))
			found = true;
		else if (*entry->d_name != '.')
			*ret_others = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The version of the pinned maps: 0 and *ret_version, -ENOENT when none are pinned. */
static int pin_dir_version(const char *dir, __u32 *ret_version)
{
	struct bpf_map_info info = {0};
	struct hf_version version;
	char path[PATH_MAX];
	__u32 size = sizeof(info), zero = 0;
	int fd, result;

	result = pin_path_format(path, dir, VERSION_MAP);
	if (result)
		return result;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	result = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (!result)
		result = info.value_size == sizeof(version) ? bpf_map_lookup_elem(fd, &zero, &version) : -EPROTO;
	close(fd);
	if (!result)
		*ret_version = version.contract;
	return result;
}

static bool map_is_ours(const struct bpf_map *map)
{
	return !strncmp(bpf_map__name(map), MAP_PREFIX, strlen(MAP_PREFIX));
}

/* Loading then adopts what is pinned and pins what is not. The version is pinned by pin_version(). */
static int pin_paths_set(struct datapath *dp)
{
	char path[PATH_MAX];
	struct bpf_map *map;
	int result = 0;

	bpf_object__for_each_map(map, dp->skel->obj) {
		if (!map_is_ours(map) || (!dp->adopted && !strcmp(bpf_map__name(map), VERSION_MAP)))
			continue;
		result = pin_path_format(path, dp->pin_dir, bpf_map__name(map));
		if (!result)
			result = bpf_map__set_pin_path(map, path);
		if (result)
			break;
	}
	return result;
}

/* The last step of a first load: from here on, the pins are a whole set. */
static int pin_version(struct datapath *dp)
{
	struct hf_version version = {.contract = HF_CONTRACT_VERSION};
	char path[PATH_MAX];
	__u32 zero = 0;
	int result;

	result = bpf_map_update_elem(bpf_map__fd(dp->skel->maps.hf_version), &zero, &version, BPF_ANY);
	if (result || !*dp->pin_dir || dp->adopted)
		return result;
	result = pin_path_format(path, dp->pin_dir, VERSION_MAP);
	return result ? result : bpf_map__pin(dp->skel->maps.hf_version, path);
}

/* Finds out what is pinned, and clears away a set that was never finished. */
static int pin_prepare(struct datapath *dp, struct datapath_report *report)
{
	const struct datapath_config *config = &dp->config;
	__u32 version = 0;
	int result;

	result = pin_dir_format(dp->pin_dir, sizeof(dp->pin_dir), config->pin_root, config->instance);
	if (result)
		return datapath_report_set(report, result, "'%s' cannot be the name of an instance",
					   config->instance);
	result = pin_dir_make(dp->pin_dir);
	if (result == -ENOTDIR)
		return datapath_report_set(report, result,
					   "%s is not in a bpf file system: mount one first "
					   "(mount -t bpf bpf /sys/fs/bpf)",
					   dp->pin_dir);
	if (result)
		return datapath_report_set(report, result, "cannot make %s: %s", dp->pin_dir, strerror(-result));
	result = pin_dir_version(dp->pin_dir, &version);
	if (result == -ENOENT)
		result = pin_dir_clear(dp->pin_dir);
	else if (!result)
		dp->adopted = true;
	if (result)
		return datapath_report_set(report, result, "cannot read the maps pinned in %s: %s", dp->pin_dir,
					   strerror(-result));
	if (dp->adopted && version != HF_CONTRACT_VERSION)
		return datapath_report_set(report, -EPROTO,
					   "the datapath pinned in %s has layout %u, this build has %u: end it with "
					   "the build that made it",
					   dp->pin_dir, version, HF_CONTRACT_VERSION);
	return 0;
}

/* Opening. */

static int event_from_ring(void *context, void *data, size_t size)
{
	struct datapath *dp = context;
	const struct hf_event *event = data;
	const struct hf_event_packet *held = data;
	const __u8 *packet = NULL;

	if (size < sizeof(*event))
		return 0;
	if (event->type == HF_EVENT_WANT && size >= sizeof(*held) && event->packet_len &&
	    event->packet_len <= HF_HOLD_MAX)
		packet = held->packet;
	if (dp->event)
		dp->event(dp->event_context, event, packet);
	/* The record counts as consumed (ringbuf_process_ring() in libbpf's ringbuf.c). */
	return ++dp->n_events < EVENTS_AT_ONCE ? 0 : -EAGAIN;
}

static int load(struct datapath *dp, struct datapath_report *report)
{
	int result;

	dp->skel = datapath_skeleton_open(&dp->config);
	if (!dp->skel)
		return datapath_report_set(report, -errno, "cannot open the BPF object: %s", strerror(errno));
	if (*dp->pin_dir) {
		result = pin_paths_set(dp);
		if (result)
			return datapath_report_set(report, result, "cannot pin in %s: %s", dp->pin_dir,
						   strerror(-result));
	}
	result = holdfast_bpf__load(dp->skel);
	if (result == -EPERM || result == -EACCES)
		return datapath_report_set(report, result,
					   geteuid() ? "loading BPF programs needs root, or CAP_BPF and CAP_NET_ADMIN" :
						       "the kernel refused the BPF programs");
	if (result)
		return datapath_report_set(report, result, "the kernel did not load the BPF programs: %s",
					   strerror(-result));
	dp->ring = ring_buffer__new(bpf_map__fd(dp->skel->maps.hf_events), event_from_ring, dp, NULL);
	if (!dp->ring)
		return datapath_report_set(report, -errno, "cannot map the ring buffer: %s", strerror(errno));
	result = pin_version(dp);
	if (result)
		return datapath_report_set(report, result, "cannot pin in %s: %s", dp->pin_dir, strerror(-result));
	return 0;
}

int datapath_open(const struct datapath_config *config, struct datapath_report *report,
		  struct datapath **ret_datapath)
{
	struct datapath_kernel kernel;
	struct datapath *dp;
	int result = 0;

	datapath_log_start();
	if (!config->without_xfrm) {
		result = datapath_probe_kernel(&kernel, report);
		if (result)
			return result;
	}
	dp = calloc(1, sizeof(*dp));
	if (!dp)
		return datapath_report_set(report, -ENOMEM, "out of memory");
	dp->config = *config;
	dp->opened_ns = clock_now_ns();
	if (config->instance)
		result = pin_prepare(dp, report);
	if (!result) {
		result = load(dp, report);
		if (result && config->instance && !dp->adopted)
			datapath_unpin(config->pin_root, config->instance);
	}
	dp->config.instance = dp->config.pin_root = NULL;
	if (result) {
		datapath_free(dp);
		return result;
	}
	*ret_datapath = dp;
	return 0;
}

void datapath_free(struct datapath *dp)
{
	if (!dp)
		return;
	ring_buffer__free(dp->ring);
	holdfast_bpf__destroy(dp->skel);
	free(dp);
}

void datapath_set_key_service_port(struct datapath *dp, __u16 port)
{
	dp->skel->data->hf_kms_port = port;
}

bool datapath_is_adopted(const struct datapath *dp)
{
	return dp->adopted;
}

int datapath_remove(struct datapath *dp)
{
	int result = 0, one;

	while (dp->n_interfaces) {
		const struct datapath_interface *interface = &dp->interfaces[dp->n_interfaces - 1];

		dp->n_interfaces--;
		if (interface->place == DATAPATH_TUNNEL)
			one = datapath_detach_tunnel(dp, interface->ifindex);
		else
			one = datapath_detach_underlay(dp, interface->ifindex);
		if (one)
			result = one;
	}
	if (*dp->pin_dir) {
		one = pin_dir_clear(dp->pin_dir);
		if (!one && rmdir(dp->pin_dir) && errno != ENOENT)
			one = -errno;
		if (one)
			result = one;
		*strrchr(dp->pin_dir, '/') = '\0';
		(void)rmdir(dp->pin_dir); /* the root goes with the last instance; with others in it, it stays */
		*dp->pin_dir = '\0';
	}
	return result;
}

/* Events. */

void datapath_on_event(struct datapath *dp, datapath_event_fn event, void *context)
{
	dp->event = event;
	dp->event_context = context;
}

int datapath_events_fd(const struct datapath *dp)
{
	return ring_buffer__epoll_fd(dp->ring);
}

int datapath_consume_events(struct datapath *dp)
{
	int result;

	dp->n_events = 0;
	result = ring_buffer__consume(dp->ring);
	return result == -EAGAIN ? EVENTS_AT_ONCE : result;
}

int datapath_program_fd(const struct datapath *dp, const char *name)
{
	const struct bpf_program *program;

	if (!name)
		return -EINVAL;
	program = bpf_object__find_program_by_name(dp->skel->obj, name);
	return program ? bpf_program__fd(program) : -ENOENT;
}

int datapath_map_fd(const struct datapath *dp, const char *name)
{
	if (!name)
		return -EINVAL;
	return bpf_object__find_map_fd_by_name(dp->skel->obj, name);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/certwatch.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define LOOK_EACH_S 3600
#define DAY_S 86400

struct certwatch {
	certwatch_warning warn;
	void *context;
	struct event *timer;
	__s64 not_after; /* 0: not known yet */
	int told;
};

int certwatch_due(__s64 not_after, __s64 now, int told)
{
	static const int days[] = { 0, 1, 7, 30 };

	for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++)
		if (not_after <= now + (__s64)days[i] * DAY_S)
			return days[i] < told ? days[i] : -1;
	return -1;
}

/* Each hour, for a clock that is set; and when it ends. If this cannot be, it is as before. */
static void look_again(struct certwatch *watch, __s64 now)
{
	__s64 left_s = watch->not_after - now;
	struct timeval wait = { .tv_sec = left_s > 0 && left_s < LOOK_EACH_S ? left_s : LOOK_EACH_S };

	event_add(watch->timer, &wait);
}

static void look(struct certwatch *watch)
{
	__s64 now = (__s64)time(NULL);
	int days = certwatch_due(watch->not_after, now, watch->told);

	look_again(watch, now);
	if (days < 0)
		return;
	watch->told = days;
	watch->warn(watch->context, days, watch->not_after - now);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	look(context);
}

int certwatch_new(struct event_base *base, certwatch_warning warn, void *context, struct certwatch **ret_watch)
{
	static const struct timeval hour = { .tv_sec = LOOK_EACH_S };
	struct certwatch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->warn = warn;
	watch->context = context;
	watch->timer = event_new(base, -1, EV_PERSIST, on_timer, watch);
	if (!watch->timer || event_add(watch->timer, &hour)) {
		certwatch_free(watch);
		return -ENOMEM;
	}
	*ret_watch = watch;
	return 0;
}

void certwatch_free(struct certwatch *watch)
{
	if (!watch)
		return;
	if (watch->timer)
		event_free(watch->timer);
	free(watch);
}

void certwatch_set(struct certwatch *watch, __s64 not_after)
{
	/* A key management service said so: before 1970 is long ago, however long, and the difference to now has room. */
	if (not_after < 0)
		not_after = 0;
	if (watch->not_after != not_after)
		watch->told = CERTWATCH_NEVER;
	watch->not_after = not_after;
	look(watch);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FIRST_READ 65536

struct buffer {
	char *data;
	size_t len;
	size_t capacity;
};

/* Reads on to the end. By read(2) rather than by size, so that a pipe serves as well. */
static int read_all(int fd, struct buffer *buffer)
{
	for (;;) {
		ssize_t got;

		if (buffer->len == buffer->capacity) {
			size_t capacity = buffer->capacity ? 2 * buffer->capacity : FIRST_READ;
			char *data = realloc(buffer->data, capacity);

			if (!data)
				return -ENOMEM;
			buffer->data = data;
			buffer->capacity = capacity;
		}
		got = read(fd, buffer->data + buffer->len, buffer->capacity - buffer->len);
		if (!got)
			return 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		buffer->len += (size_t)got;
		if (buffer->len > POLICYFILE_SIZE_MAX)
			return -EFBIG;
	}
}

int policyfile_load(const char *path, struct policy **ret_policy, struct policy_report *report, char *error,
		    size_t size)
{
	struct buffer buffer = { .data = NULL };
	int fd;
	int err;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		err = -errno;
		snprintf(error, size, "cannot open the policy %s: %s", path, strerror(-err));
		return err;
	}
	err = read_all(fd, &buffer);
	if (err == -EFBIG)
		snprintf(error, size, "the policy %s is larger than %u MiB", path, POLICYFILE_SIZE_MAX >> 20);
	else if (err)
		snprintf(error, size, "cannot read the policy %s: %s", path, strerror(-err));
	if (err)
		goto out;
	err = policy_parse(buffer.data, buffer.len, report, ret_policy);
	if (err == -EINVAL)
		snprintf(error, size, "the policy %s has %zu error%s", path, report->errors,
			 report->errors == 1 ? "" : "s");
	else if (err)
		snprintf(error, size, "cannot take in the policy %s: %s", path, strerror(-err));
out:
	free(buffer.data);
	close(fd);
	return err;
}

void policyfile_print_report(const char *path, const struct policy_report *report, FILE *out)
{
	static const char *const names[] = { [POLICY_ERROR] = "error", [POLICY_WARNING] = "warning" };
	size_t found = report->errors + report->warnings;

	for (size_t i = 0; i < report->n; i++) {
		const struct policy_message *message = &report->messages[i];

		fprintf(out, "%s:%u:%u: %s: %s\n", path, message->place.line, message->place.column,
			names[message->severity], message->text);
	}
	if (found > report->n)
		fprintf(out, "%s: %zu errors and %zu warnings in all; the first %zu are shown\n", path, report->errors,
			report->warnings, report->n);
}

/* Numbers from the kernel, drawn many at a time: a large policy has many clusters. */
struct random {
	__u32 numbers[64]; /* getrandom(2) never splits up to 256 bytes */
	size_t left;
	int err;
};

/* Uniform: numbers at or above the largest multiple of bound would favour the small ones. */
static __u32 draw(void *context, __u32 bound)
{
	struct random *random = context;
	__u32 excess = (__u32)-bound % bound; /* 2^32 modulo bound */
	__u32 number;

	do {
		if (!random->left && !random->err) {
			if (getrandom(random->numbers, sizeof(random->numbers), 0) == sizeof(random->numbers))
				random->left = sizeof(random->numbers) / sizeof(*random->numbers);
			else
				random->err = errno ? -errno : -EIO;
		}
		if (random->err)
			return 0;
		number = random->numbers[--random->left];
	} while (number > 0xffffffffu - excess);
	return number % bound;
}

int policyfile_shuffle(struct policy *policy)
{
	struct random random = { .left = 0 };

	policy_shuffle(policy, draw, &random);
	return random.err;
}

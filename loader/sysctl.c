/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The journal's file: one line "key<TAB>value before<TAB>value set" for each change, in their order. */
#include "loader/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOT "/proc/sys/"
#define KEY_MAX 128
#define VALUE_MAX 64
#define LINE_MAX_LEN (KEY_MAX + 2 * VALUE_MAX + 3)

struct entry {
	char key[KEY_MAX];
	char before[VALUE_MAX];
	char set[VALUE_MAX];
};

struct sysctl_journal {
	char *file;
	struct entry *entries;
	size_t n;
};

static bool key_is_valid(const char *key)
{
	return strlen(key) < KEY_MAX && strncmp(key, "net/", 4) == 0 && !strstr(key, "..") &&
	       !strpbrk(key, "\t\n");
}

static int open_key(const char *key, int flags)
{
	char path[sizeof(ROOT) + KEY_MAX];
	int fd;

	snprintf(path, sizeof(path), ROOT "%s", key);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Without the newline. */
static int read_value(const char *key, char ret_value[VALUE_MAX])
{
	int fd = open_key(key, O_RDONLY), err = 0;
	char value[VALUE_MAX];
	ssize_t len;

	if (fd < 0)
		return fd;
	len = read(fd, value, sizeof(value) - 1);
	if (len < 0)
		err = -errno;
	close(fd);
	if (err)
		return err;
	value[len] = '\0';
	value[strcspn(value, "\n")] = '\0';
	memcpy(ret_value, value, sizeof(value));
	return 0;
}

static int write_value(const char *key, const char *value)
{
	int fd = open_key(key, O_WRONLY), err = 0;

	if (fd < 0)
		return fd;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static struct entry *find(struct sysctl_journal *journal, const char *key)
{
	size_t i;

	for (i = 0; i < journal->n; i++)
		if (strcmp(journal->entries[i].key, key) == 0)
			return &journal->entries[i];
	return NULL;
}

static int remember(struct sysctl_journal *journal, const struct entry *entry)
{
	struct entry *entries, *known = find(journal, entry->key);

	if (known) {
		/* What it was before the first change is what counts. */
		memcpy(known->set, entry->set, sizeof(known->set));
		return 0;
	}
	entries = reallocarray(journal->entries, journal->n + 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	journal->entries = entries;
	entries[journal->n++] = *entry;
	return 0;
}

/* Splits a line, which has its newline. */
static bool parse_line(char *line, struct entry *entry)
{
	char *before = strchr(line, '\t'), *set = before ? strchr(before + 1, '\t') : NULL;
	char *end = set ? strchr(set + 1, '\n') : NULL;

	if (!end)
		return false;
	*before++ = *set++ = *end = '\0';
	if (!key_is_valid(line) || strlen(before) >= VALUE_MAX || strlen(set) >= VALUE_MAX)
		return false;
	memset(entry, 0, sizeof(*entry));
	strcpy(entry->key, line);
	strcpy(entry->before, before);
	strcpy(entry->set, set);
	return true;
}

static int load(struct sysctl_journal *journal)
{
	char line[LINE_MAX_LEN + 1];
	struct entry entry;
	FILE *file = fopen(journal->file, "re");
	int err = 0;

	if (!file)
		return errno == ENOENT ? 0 : -errno;
	while (!err && fgets(line, sizeof(line), file) && parse_line(line, &entry))
		err = remember(journal, &entry);
	fclose(file);
	return err;
}

int sysctl_open(const char *file, struct sysctl_journal **ret_journal)
{
	struct sysctl_journal *journal = calloc(1, sizeof(*journal));
	int err = -ENOMEM;

	if (!journal)
		return err;
	journal->file = strdup(file);
	if (journal->file)
		err = load(journal);
	if (err)
		sysctl_close(journal);
	else
		*ret_journal = journal;
	return err;
}

void sysctl_close(struct sysctl_journal *journal)
{
	if (!journal)
		return;
	free(journal->entries);
	free(journal->file);
	free(journal);
}

/* Writes one line at the file's end, in one go. */
static int append(const struct sysctl_journal *journal, const struct entry *entry)
{
	char line[LINE_MAX_LEN + 1];
	int len = snprintf(line, sizeof(line), "%s\t%s\t%s\n", entry->key, entry->before, entry->set);
	int fd = open(journal->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), err = 0;
	ssize_t written;
	off_t before;

	if (fd < 0)
		return -errno;
	before = lseek(fd, 0, SEEK_END);
	written = write(fd, line, (size_t)len);
	if (written != len)
		err = written < 0 ? -errno : -ENOSPC;
	/* Half a line would be the end of what is read. */
	if (written > 0 && err && ftruncate(fd, before))
		err = -errno;
	close(fd);
	return err;
}

int sysctl_set(struct sysctl_journal *journal, const char *key, const char *value)
{
	struct entry entry = { 0 };
	const struct entry *known;
	int err;

	if (!key_is_valid(key) || strlen(value) >= VALUE_MAX || strpbrk(value, "\t\n"))
		return -EINVAL;
	strcpy(entry.key, key);
	strcpy(entry.set, value);
	err = read_value(key, entry.before);
	if (err || strcmp(entry.before, value) == 0)
		return err;
	/* A value of several words: their tabs would split the line. Nothing of net/conf or net/neigh is one. */
	if (strchr(entry.before, '\t'))
		return -EINVAL;
	known = find(journal, key);
	if (!known || strcmp(known->set, value) != 0) { /* else somebody has changed it since: the journal has it */
		err = append(journal, &entry);
		if (!err)
			err = remember(journal, &entry);
	}
	if (!err)
		err = write_value(key, value);
	return err ? err : 1;
}

int sysctl_set_if(struct sysctl_journal *journal, const char *format, const char *interface, const char *value)
{
	const char *hole = strstr(format, "%s");
	char key[KEY_MAX];
	int len;

	if (!hole || strchr(interface, '/'))
		return -EINVAL;
	len = snprintf(key, sizeof(key), "%.*s%s%s", (int)(hole - format), format, interface, hole + 2);
	return len < 0 || (size_t)len >= sizeof(key) ? -EINVAL : sysctl_set(journal, key, value);
}

static int restore_one(const struct entry *entry)
{
	char now[VALUE_MAX];
	int err = read_value(entry->key, now);

	if (err == -ENOENT)
		return 0;
	if (err || strcmp(now, entry->set) != 0)
		return err;
	return write_value(entry->key, entry->before);
}

static bool is_of(const struct entry *entry, const char *interface)
{
	const char *at = entry->key;
	size_t len = strlen(interface);

	while ((at = strchr(at, '/')))
		if (!strncmp(++at, interface, len) && at[len] == '/')
			return true;
	return false;
}

/* The file anew, with what is left: whole at any time. */
static int rewrite(const struct sysctl_journal *journal)
{
	char *file;
	FILE *out;
	int err = 0;

	if (asprintf(&file, "%s.new", journal->file) < 0)
		return -ENOMEM;
	out = fopen(file, "we");
	for (size_t i = 0; out && i < journal->n; i++)
		fprintf(out, "%s\t%s\t%s\n", journal->entries[i].key, journal->entries[i].before, journal->entries[i].set);
	if (!out || fclose(out) || rename(file, journal->file)) {
		err = -errno;
		unlink(file);
	}
	free(file);
	return err;
}

int sysctl_restore_if(struct sysctl_journal *journal, const char *interface)
{
	size_t kept = 0, n = journal->n;
	int err = 0;

	for (size_t i = n; i-- > 0;) {
		int result = is_of(&journal->entries[i], interface) ? restore_one(&journal->entries[i]) : 0;

		err = err ? err : result;
	}
	for (size_t i = 0; i < n; i++)
		if (!is_of(&journal->entries[i], interface))
			journal->entries[kept++] = journal->entries[i];
	journal->n = kept;
	if (kept != n) {
		int result = rewrite(journal);

		err = err ? err : result;
	}
	return err;
}

int sysctl_restore(struct sysctl_journal *journal)
{
	int err = 0;

	while (journal->n) {
		int result = restore_one(&journal->entries[--journal->n]);

		if (!err)
			err = result;
	}
	if (unlink(journal->file) < 0 && errno != ENOENT && !err)
		err = -errno;
	return err;
}

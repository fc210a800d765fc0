/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "lib/secret.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *secret_alloc(size_t len)
{
	void *bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		return NULL;
	mlock(bytes, len);
	madvise(bytes, len, MADV_DONTDUMP);
	return bytes;
}

void secret_free(void *bytes, size_t len)
{
	if (!bytes)
		return;
	explicit_bzero(bytes, len);
	munmap(bytes, len); /* unlocks as well (mlock(2)) */
}

void secret_lock(void *bytes, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)bytes / page * page;
	uintptr_t end = ((uintptr_t)bytes + len + page - 1) / page * page;

	mlock(bytes, len);
	madvise((void *)first, end - first, MADV_DONTDUMP);
}

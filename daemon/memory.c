/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A daemon that runs on small machines for months keeps what it uses. Unmapping code is safe for executable mappings of files alone: nobody
 * ever writes there, so the page cache has the same bytes, and a page that is needed again costs a minor fault and no disk.
 */

#include "daemon/memory.h"

#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "util/macro.h"

void memory_forget_start(void)
{
	_cleanup_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
	char line[512], permissions[5], path[256];
	uintptr_t from, to;
	while (maps && fgets(line, sizeof line, maps))
		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %255s", &from, &to, permissions, path) == 4 && path[0] == '/' &&
			strcmp(permissions, "r-xp") == 0)
			(void)madvise((void *)from, to - from, MADV_DONTNEED);
}

void memory_trim(void)
{
	(void)malloc_trim(0);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files that are either wholly the old ones or wholly the new ones. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FILE_READ_MAX (8u << 20) /* no document of ours is larger: settings with 100,000 IPv6 networks have 6 MB */

/*
 * Writes BYTES to a new file beside PATH, syncs it, renames it over PATH and syncs the folder. On any error the old file is
 * untouched and no temporary file is left. Returns 0 or a negative errno.
 */
int file_write_atomic(const char *path, const void *bytes, size_t length, mode_t mode);

/*
 * Reads a whole regular file of at most FILE_READ_MAX bytes; *ret ends in a NUL that is not counted. Negative errno: -ENOENT only where
 * there is nothing, -ENOLINK where there is a link that leads nowhere.
 */
int file_read(const char *path, char **ret, size_t *ret_length);

/*
 * Whether PATH is a file, and nobody but root can change what stands there: it, and every folder and every symbolic link on
 * the way, belong to root and are writable by root alone (folders with the sticky bit, as /tmp, count as that). Else *ret_why
 * is a sentence about the first that is not; the caller frees it. PATH is absolute.
 */
bool file_is_roots(const char *path, char **ret_why);

/* Removes PATH and syncs its folder. A file that is not there is no error. */
int file_remove(const char *path);

/* Makes PATH and what is above it, 0755 above, MODE for the last. Existing folders are left as they are. */
int directory_make(const char *path, mode_t mode);

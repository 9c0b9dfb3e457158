/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Scope cleanup and the few macros that every folder uses. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))
#define _printf_(position, first) __attribute__((__format__(__printf__, position, first)))
#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

#define USEC_PER_MSEC ((uint64_t)1000)
#define USEC_PER_SEC ((uint64_t)1000000)
#define USEC_INFINITY UINT64_MAX

/* Declares a cleanup helper NAMEp for a destructor that takes a pointer and accepts NULL. */
#define DEFINE_CLEANUP(type, destructor)                                                                                   \
	static inline void destructor##p(type *object)                                                                     \
	{                                                                                                                  \
		if (*object)                                                                                               \
			destructor(*object);                                                                               \
	}

/* Hands ownership out of a cleanup variable: returns the pointer and leaves NULL behind. */
#define STEAL(pointer)                                                                                                     \
	({                                                                                                                 \
		typeof(pointer) stolen_ = (pointer);                                                                       \
		(pointer) = NULL;                                                                                          \
		stolen_;                                                                                                   \
	})

/* The same for a descriptor, which is -1 when it is not held. */
#define STEAL_FD(fd)                                                                                                       \
	({                                                                                                                 \
		int stolen_fd_ = (fd);                                                                                     \
		(fd) = -1;                                                                                                 \
		stolen_fd_;                                                                                                \
	})

static inline void freep(void *pointer)
{
	free(*(void **)pointer);
}

static inline void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* Closes *fd unless it is negative, and leaves -1. Keeps errno's value for the caller. */
static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

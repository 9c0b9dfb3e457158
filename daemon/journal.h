/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Events and decisions, kept in SQLite (journal.db, WAL). Ids rise by one and never go back, over restarts too; after a
 * crash some are left out. A full or failing disk stops recording, never anything else: then records live in memory
 * (the last JOURNAL_MEMORY of them), journal_failure() says so, and what is still in memory is written once the disk
 * takes it again.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_MEMORY    1024
#define JOURNAL_QUERY_MAX 1000

struct journal;

/* A member that is 0 has its default. */
struct journal_limits {
	uint64_t age_usec;   /* default 30 days */
	uint64_t bytes;      /* default 32 MiB */
	uint64_t retry_usec; /* how long a disk that failed is left alone; default 5 s */
};

struct journal_filter {
	uint64_t after;                  /* ids greater than this */
	const char *tunnel;              /* NULL: all */
	const char *kind;                /* NULL: all */
	uint64_t since_usec, until_usec; /* CLOCK_REALTIME, both included; 0: no bound */
	size_t limit;                    /* 1 … JOURNAL_QUERY_MAX */
};

/*
 * Opens or makes PATH; LIMITS may be NULL. A file that is no database, or of another format, is set aside as
 * PATH.broken and a new one made. Never fails for the disk's sake: always 0, and journal_failure() tells. Beside PATH
 * stands PATH.ids, the highest id that may have been given out: 21 bytes that are overwritten in place, so that ids go
 * on upwards after a lost transaction, a lost database and a full disk.
 */
int journal_open(struct journal **ret, const char *path, const struct journal_limits *limits);
struct journal *journal_close(struct journal *journal); /* flushes; accepts NULL, returns NULL */

/*
 * Adds EVENT (an object with `kind`, perhaps `tunnel`), completing it with `id` and `time` (RFC 3339, UTC,
 * milliseconds): members of these names that are there already keep their place. Returns the id. Cheap, without a
 * system call: what reaches the disk is written by journal_flush(). Only where JOURNAL_MEMORY records wait for that
 * does it flush by itself.
 */
uint64_t journal_append(struct journal *journal, json_object *event, uint64_t now_realtime_usec);
/*
 * Writes what was appended in one transaction; called once per turn of the loop, after everything else, and when
 * journal_retry_in() is over: then a failure ends by itself, though nothing was appended.
 */
void journal_flush(struct journal *journal);

/*
 * Oldest first. *ret is a JSON array the caller owns. *ret_gap: of the events after FILTER's `after` some are no longer
 * kept, or that id was never given out. 0, or -EINVAL for a limit out of range.
 */
int journal_query(struct journal *journal, const struct journal_filter *filter, json_object **ret, bool *ret_gap);
uint64_t journal_last(const struct journal *journal); /* the last id given out; 0: none yet */
/* Why nothing is being recorded, or NULL. */
const char *journal_failure(const struct journal *journal);
/* Microseconds until journal_flush() would try a disk that failed again; UINT64_MAX: it did not fail. */
uint64_t journal_retry_in(const struct journal *journal);

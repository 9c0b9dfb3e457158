/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The journal is a ring of the last JOURNAL_MEMORY records in memory, in front of a table in SQLite that holds the same
 * and older ones. Appending touches the ring only; flushing writes the records above `flushed` in one transaction.
 *
 * Invariants:
 *  - the ring holds the ids (last - held, last], without a hole; the database holds nothing above `flushed`;
 *  - every id from `floor` to `last` is in the ring or in the database: a reader whose place is before `floor` has a
 * gap;
 *  - no id above `reserved`, which stands in PATH.ids, is given out while the disk works. A start continues above what
 * stands there.
 *
 * SQLite's part of private memory is kept small: a page cache of 128 KiB, no memory map, a small lookaside. The file
 * belongs to this process alone (exclusive locking), so nobody's forgotten reader can make the WAL grow.
 */

#include "daemon/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"
#include "util/timestamp.h"

#define FORMAT      1          /* PRAGMA user_version */
#define APPLICATION 0x68666a31 /* PRAGMA application_id: "hfj1" */
#define ID_BLOCK    4096       /* ids reserved at a time; the next block when half of it is used */
#define PRUNE_EVERY 256        /* records between two looks at the limits */
#define PRUNE_ROWS                                                                                                     \
	1024 /* rows that one look removes for their age: bounds the time and what a jumping clock can cost */
#define DEFAULT_AGE   (30 * 24 * 3600 * USEC_PER_SEC)
#define DEFAULT_BYTES (32u << 20)
#define DEFAULT_RETRY (5 * USEC_PER_SEC)

enum statement { INSERT, SELECT, PRUNE_AGE, PRUNE_SIZE, OLDEST, FLOOR_SET, STATEMENT_COUNT };

static const char *const statements[STATEMENT_COUNT] = {
	[INSERT] = "INSERT OR REPLACE INTO events (id, time, kind, tunnel, body) VALUES (?1, ?2, ?3, ?4, ?5)",
	[SELECT] = ("SELECT body FROM events WHERE id > ?1 AND id < ?2 AND (?3 IS NULL OR kind = ?3)"
		    " AND (?4 IS NULL OR tunnel = ?4) AND time >= ?5 AND time <= ?6 ORDER BY id LIMIT ?7"),
	[PRUNE_AGE] = "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?1) AND time < ?2",
	[PRUNE_SIZE] = "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?1)",
	[OLDEST] = "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM events",
	[FLOOR_SET] = "UPDATE state SET floor = ?1",
};

static const char settings[] =
	"PRAGMA locking_mode = EXCLUSIVE; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
	"PRAGMA synchronous = NORMAL; PRAGMA cache_size = -128; PRAGMA mmap_size = 0;"
	"PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 128; PRAGMA journal_size_limit = 524288";

static const char schema[] = "BEGIN;"
			     "CREATE TABLE events (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL,"
			     " tunnel TEXT, body TEXT NOT NULL);"
			     "CREATE INDEX events_kind ON events (kind);"
			     "CREATE TABLE state (floor INTEGER NOT NULL); INSERT INTO state VALUES (0);"
			     "PRAGMA application_id = 1751542321; PRAGMA user_version = 1; COMMIT";
_Static_assert(APPLICATION == 1751542321 && FORMAT == 1, "the schema spells them out");

struct record {
	uint64_t time_usec;
	char *kind; /* owns the one block in which tunnel and body lie too */
	const char *tunnel, *body;
};

struct journal {
	char *path;
	struct journal_limits limits;
	sqlite3 *database; /* NULL while it cannot be opened */
	sqlite3_stmt *prepared[STATEMENT_COUNT];
	int ids; /* PATH.ids, or -1 */
	struct record ring[JOURNAL_MEMORY];
	size_t held;
	uint64_t last, flushed, floor, reserved;
	uint64_t stored_floor;
	unsigned unpruned;
	char *failure;
	uint64_t retry_at_usec; /* CLOCK_MONOTONIC; 0: no failure */
};

static struct record *record_of(struct journal *journal, uint64_t id)
{
	return &journal->ring[id % JOURNAL_MEMORY];
}

static uint64_t first_in_memory(const struct journal *journal)
{
	return journal->last - journal->held + 1;
}

/* Failing and mending are each said once. */
static void fail(struct journal *journal, const char *what, const char *why)
{
	_cleanup_free_ char *failure = text_format("%s: %s: %s", journal->path, what, why);
	journal->retry_at_usec = clock_usec(CLOCK_MONOTONIC) + journal->limits.retry_usec;
	if (!journal->failure || strcmp(journal->failure, failure) != 0)
		log_warning("journal: events live in memory alone: %s", failure);
	free(journal->failure);
	journal->failure = STEAL(failure);
}

static void mended(struct journal *journal)
{
	if (!journal->failure)
		return;
	log_notice("journal: recording again in %s", journal->path);
	free(journal->failure);
	journal->failure = NULL;
	journal->retry_at_usec = 0;
}

/* --- ids --- */

/* Through a descriptor of its own: on a disk that is read-only there is no other, and ids must not begin anew. */
static uint64_t ids_read(struct journal *journal)
{
	_cleanup_free_ char *path = text_format("%s.ids", journal->path);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[32] = "";
	unsigned long long id = 0;
	if (fd < 0 || pread(fd, text, sizeof text - 1, 0) <= 0 || sscanf(text, "%20llu", &id) != 1)
		return 0;
	return id > INT64_MAX - ID_BLOCK ? 0 : id;
}

/* Always the same length, within one sector: overwritten in place it needs no room on the disk and is never torn. */
static bool ids_write(struct journal *journal, uint64_t id, bool sync)
{
	char text[32];
	int length = snprintf(text, sizeof text, "%020" PRIu64 "\n", id);
	if (journal->ids < 0 || pwrite(journal->ids, text, (size_t)length, 0) != length)
		return false;
	return !sync || fdatasync(journal->ids) == 0;
}

static void ids_open(struct journal *journal)
{
	_cleanup_free_ char *path = text_format("%s.ids", journal->path);
	journal->ids = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static bool ids_reserve(struct journal *journal)
{
	uint64_t reserved = journal->last + ID_BLOCK;
	if (journal->last + ID_BLOCK / 2 <= journal->reserved)
		return true;
	if (journal->ids < 0)
		ids_open(journal);
	if (!ids_write(journal, reserved, true))
		return false;
	journal->reserved = reserved;
	return true;
}

/* --- the database --- */

static void database_close(struct journal *journal)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++) {
		sqlite3_finalize(journal->prepared[i]);
		journal->prepared[i] = NULL;
	}
	sqlite3_close(journal->database);
	journal->database = NULL;
}

static int execute(struct journal *journal, const char *sql)
{
	return sqlite3_exec(journal->database, sql, NULL, NULL, NULL);
}

static int query_number(struct journal *journal, const char *sql, int64_t *ret)
{
	sqlite3_stmt *statement = NULL;
	int r = sqlite3_prepare_v2(journal->database, sql, -1, &statement, NULL);
	if (r == SQLITE_OK && (r = sqlite3_step(statement)) == SQLITE_ROW) {
		*ret = sqlite3_column_int64(statement, 0);
		r = SQLITE_OK;
	}
	sqlite3_finalize(statement);
	return r;
}

static bool is_broken(int r)
{
	int primary = r & 0xff;
	return primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT || primary == SQLITE_FORMAT;
}

/* Runs a prepared statement that returns no rows; its bindings are cleared. */
static int run(struct journal *journal, enum statement which)
{
	sqlite3_stmt *statement = journal->prepared[which];
	int r = sqlite3_step(statement);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return r == SQLITE_DONE || r == SQLITE_ROW ? SQLITE_OK : r;
}

static int database_bounds(struct journal *journal, uint64_t *ret_oldest, uint64_t *ret_newest)
{
	sqlite3_stmt *statement = journal->prepared[OLDEST];
	int r = sqlite3_step(statement);
	if (r == SQLITE_ROW) {
		*ret_oldest = (uint64_t)sqlite3_column_int64(statement, 0);
		*ret_newest = (uint64_t)sqlite3_column_int64(statement, 1);
		r = SQLITE_OK;
	}
	sqlite3_reset(statement);
	return r;
}

/* A new file gets the tables; one of another application or format is "broken". */
static int database_check(struct journal *journal)
{
	int64_t application, version, tables;
	int r;
	if ((r = query_number(journal, "PRAGMA application_id", &application)) != SQLITE_OK ||
		(r = query_number(journal, "PRAGMA user_version", &version)) != SQLITE_OK ||
		(r = query_number(journal, "SELECT count(*) FROM sqlite_master", &tables)) != SQLITE_OK)
		return r;
	if (application == 0 && version == 0 && tables == 0)
		return execute(journal, schema);
	return application == APPLICATION && version == FORMAT ? SQLITE_OK : SQLITE_FORMAT;
}

static int database_try(struct journal *journal)
{
	int r = sqlite3_open_v2(journal->path, &journal->database,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
	if (r != SQLITE_OK)
		return r;
	sqlite3_extended_result_codes(journal->database, 1);
	sqlite3_db_config(journal->database, SQLITE_DBCONFIG_LOOKASIDE, NULL, 128, 64);
	if ((r = execute(journal, settings)) != SQLITE_OK || (r = database_check(journal)) != SQLITE_OK)
		return r;
	for (size_t i = 0; i < STATEMENT_COUNT && r == SQLITE_OK; i++)
		r = sqlite3_prepare_v3(
			journal->database, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &journal->prepared[i], NULL);
	return r == SQLITE_ERROR ? SQLITE_FORMAT : r; /* a table that is missing or differs */
}

/* What is in memory is written again, to the new file. */
static void set_aside(struct journal *journal)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	log_warning(
		"journal: %s cannot be read as a journal; it is set aside as %s.broken", journal->path, journal->path);
	database_close(journal);
	for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
		_cleanup_free_ char *from = text_format("%s%s", journal->path, suffixes[i]);
		_cleanup_free_ char *to = text_format("%s.broken%s", journal->path, suffixes[i]);
		if (rename(from, to) < 0 && errno == ENOENT)
			unlink(to); /* of an earlier one: it must not be taken for this one's */
	}
	journal->flushed = journal->last - journal->held;
	journal->floor = MAX_OF(journal->floor, first_in_memory(journal));
	journal->stored_floor = 0;
}

/* It could not be opened at first, nor its ids be read: what is to be written must not take the place of what stands there. */
static bool has_our_ids(struct journal *journal)
{
	uint64_t oldest = 0, newest = 0;
	return database_bounds(journal, &oldest, &newest) == SQLITE_OK && newest > journal->flushed && journal->last > 0;
}

static bool database_open(struct journal *journal)
{
	mode_t mask = umask(0077);
	int r = database_try(journal);
	if (is_broken(r) || (r == SQLITE_OK && has_our_ids(journal))) {
		set_aside(journal);
		r = database_try(journal);
	}
	umask(mask);
	if (r != SQLITE_OK) {
		fail(journal, "opening it", journal->database ? sqlite3_errmsg(journal->database) : sqlite3_errstr(r));
		database_close(journal);
	}
	return r == SQLITE_OK;
}

/* --- the limits --- */

static int prune_age(struct journal *journal)
{
	uint64_t newest = record_of(journal, journal->last)->time_usec;
	uint64_t oldest = newest > journal->limits.age_usec ? newest - journal->limits.age_usec : 0;
	sqlite3_bind_int64(journal->prepared[PRUNE_AGE], 1, PRUNE_ROWS);
	sqlite3_bind_int64(journal->prepared[PRUNE_AGE], 2, (int64_t)oldest);
	return run(journal, PRUNE_AGE);
}

static int used_bytes(struct journal *journal, uint64_t *ret)
{
	int64_t size, pages, unused;
	int r;
	if ((r = query_number(journal, "PRAGMA page_size", &size)) == SQLITE_OK &&
		(r = query_number(journal, "PRAGMA page_count", &pages)) == SQLITE_OK &&
		(r = query_number(journal, "PRAGMA freelist_count", &unused)) == SQLITE_OK)
		*ret = (uint64_t)((pages - unused) * size);
	return r;
}

/* An eighth of the rows at a time, until it fits. */
static int prune_size(struct journal *journal)
{
	for (;;) {
		uint64_t used = 0, oldest = 0, newest = 0;
		int r;
		if ((r = used_bytes(journal, &used)) != SQLITE_OK ||
			(r = database_bounds(journal, &oldest, &newest)) != SQLITE_OK)
			return r;
		if (used <= journal->limits.bytes || oldest == 0)
			return SQLITE_OK;
		sqlite3_bind_int64(journal->prepared[PRUNE_SIZE], 1, (int64_t)((newest - oldest) / 8 + 1));
		if ((r = run(journal, PRUNE_SIZE)) != SQLITE_OK)
			return r;
	}
}

static int prune(struct journal *journal)
{
	uint64_t oldest = 0, newest = 0;
	int r;
	if (journal->unpruned < PRUNE_EVERY)
		return SQLITE_OK;
	if ((r = prune_age(journal)) != SQLITE_OK || (r = prune_size(journal)) != SQLITE_OK ||
		(r = database_bounds(journal, &oldest, &newest)) != SQLITE_OK)
		return r;
	/* All gone: what is in the ring, at most, is still kept. */
	journal->floor = MAX_OF(journal->floor, oldest ? oldest : first_in_memory(journal));
	journal->unpruned = 0;
	return SQLITE_OK;
}

/* --- writing --- */

static int insert(struct journal *journal, uint64_t id)
{
	const struct record *record = record_of(journal, id);
	sqlite3_stmt *statement = journal->prepared[INSERT];
	sqlite3_bind_int64(statement, 1, (int64_t)id);
	sqlite3_bind_int64(statement, 2, (int64_t)record->time_usec);
	sqlite3_bind_text(statement, 3, record->kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 4, record->tunnel, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 5, record->body, -1, SQLITE_STATIC);
	return run(journal, INSERT);
}

static int write_pending(struct journal *journal)
{
	uint64_t first = MAX_OF(journal->flushed + 1, first_in_memory(journal));
	int r = execute(journal, "BEGIN IMMEDIATE");
	for (uint64_t id = first; r == SQLITE_OK && id <= journal->last; id++)
		r = insert(journal, id);
	if (r == SQLITE_OK)
		r = prune(journal);
	if (r == SQLITE_OK && journal->floor != journal->stored_floor) {
		sqlite3_bind_int64(journal->prepared[FLOOR_SET], 1, (int64_t)journal->floor);
		r = run(journal, FLOOR_SET);
	}
	return r == SQLITE_OK ? execute(journal, "COMMIT") : r;
}

void journal_flush(struct journal *journal)
{
	if (journal->flushed == journal->last && !journal->failure)
		return;
	bool reserved = ids_reserve(journal); /* first, and also while the database fails: ids go on being given out */
	int error = errno;
	if (journal->failure && clock_usec(CLOCK_MONOTONIC) < journal->retry_at_usec)
		return;
	if (!journal->database && !database_open(journal))
		return;
	int r = write_pending(journal);
	if (r != SQLITE_OK) {
		fail(journal, "writing to it", sqlite3_errmsg(journal->database));
		execute(journal, "ROLLBACK");
		if (is_broken(r))
			set_aside(journal); /* the next attempt makes a new one */
		return;
	}
	bool shrunk = journal->floor != journal->stored_floor;
	journal->stored_floor = journal->floor;
	journal->flushed = journal->last;
	if (reserved)
		mended(journal);
	else
		fail(journal, "reserving ids", strerror(error));
	if (shrunk)
		execute(journal, "PRAGMA incremental_vacuum");
}

static const char *member(json_object *event, const char *key)
{
	json_object *value;
	return json_object_object_get_ex(event, key, &value) ? json_object_get_string(value) : NULL;
}

static void record_set(struct record *record, json_object *event, uint64_t now_realtime_usec)
{
	const char *kind = member(event, "kind"), *tunnel = member(event, "tunnel");
	const char *body =
		json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t kind_size = strlen(kind ? kind : "") + 1, tunnel_size = tunnel ? strlen(tunnel) + 1 : 0,
	       body_size = strlen(body) + 1;
	char *block = xrealloc(NULL, kind_size + tunnel_size + body_size);
	memcpy(block, kind ? kind : "", kind_size);
	if (tunnel)
		memcpy(block + kind_size, tunnel, tunnel_size);
	memcpy(block + kind_size + tunnel_size, body, body_size);
	free(record->kind);
	*record = (struct record){
		now_realtime_usec, block, tunnel ? block + kind_size : NULL, block + kind_size + tunnel_size};
}

uint64_t journal_append(struct journal *journal, json_object *event, uint64_t now_realtime_usec)
{
	char time[TIMESTAMP_TEXT_MAX];
	if (journal->last - journal->flushed >= JOURNAL_MEMORY)
		journal_flush(journal);
	uint64_t id = ++journal->last;
	if (journal->held < JOURNAL_MEMORY)
		journal->held++;
	if (journal->flushed + 1 < first_in_memory(journal)) /* overwritten before it could be written: a hole */
		journal->floor = MAX_OF(journal->floor, first_in_memory(journal));
	json_object_object_add(event, "id", json_object_new_int64((int64_t)id));
	json_object_object_add(event, "time", json_object_new_string(timestamp_format(time, now_realtime_usec)));
	record_set(record_of(journal, id), event, now_realtime_usec);
	journal->unpruned++;
	return id;
}

/* --- reading --- */

static void add_parsed(json_object *array, const char *body)
{
	json_object *event = json_tokener_parse(body);
	if (event)
		json_object_array_add(array, event);
}

static void bind_filter(sqlite3_stmt *statement, const struct journal_filter *filter, uint64_t before)
{
	sqlite3_bind_int64(statement, 1, (int64_t)MIN_OF(filter->after, (uint64_t)INT64_MAX));
	sqlite3_bind_int64(statement, 2, (int64_t)before);
	sqlite3_bind_text(statement, 3, filter->kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 4, filter->tunnel, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 5, (int64_t)MIN_OF(filter->since_usec, (uint64_t)INT64_MAX));
	sqlite3_bind_int64(statement, 6,
		filter->until_usec ? (int64_t)MIN_OF(filter->until_usec, (uint64_t)INT64_MAX) : INT64_MAX);
	sqlite3_bind_int64(statement, 7, (int64_t)filter->limit);
}

/* What lies before the ring. False where the database could not be read to the end. */
static bool query_database(struct journal *journal, const struct journal_filter *filter, json_object *array)
{
	if (!journal->database)
		return false;
	sqlite3_stmt *statement = journal->prepared[SELECT];
	bind_filter(statement, filter, first_in_memory(journal));
	int r;
	while ((r = sqlite3_step(statement)) == SQLITE_ROW)
		add_parsed(array, (const char *)sqlite3_column_text(statement, 0));
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return r == SQLITE_DONE;
}

static bool holds(const struct journal_filter *filter, const struct record *record)
{
	return (!filter->kind || strcmp(filter->kind, record->kind) == 0) &&
	       (!filter->tunnel || (record->tunnel && strcmp(filter->tunnel, record->tunnel) == 0)) &&
	       record->time_usec >= filter->since_usec &&
	       (!filter->until_usec || record->time_usec <= filter->until_usec);
}

int journal_query(struct journal *journal, const struct journal_filter *filter, json_object **ret, bool *ret_gap)
{
	if (filter->limit == 0 || filter->limit > JOURNAL_QUERY_MAX)
		return -EINVAL;
	json_object *array = json_object_new_array();
	bool gap = filter->after > journal->last || filter->after + 1 < journal->floor;
	uint64_t id = first_in_memory(journal);
	if (filter->after <= journal->last && filter->after + 1 < id && !query_database(journal, filter, array))
		gap = true;
	for (id = MAX_OF(id, filter->after + 1); filter->after < journal->last && id <= journal->last; id++) {
		if (json_object_array_length(array) >= filter->limit)
			break;
		if (holds(filter, record_of(journal, id)))
			add_parsed(array, record_of(journal, id)->body);
	}
	*ret = array;
	*ret_gap = gap;
	return 0;
}

uint64_t journal_last(const struct journal *journal)
{
	return journal->last;
}

const char *journal_failure(const struct journal *journal)
{
	return journal->failure;
}

uint64_t journal_retry_in(const struct journal *journal)
{
	uint64_t now = clock_usec(CLOCK_MONOTONIC);
	if (!journal->failure)
		return UINT64_MAX;
	return journal->retry_at_usec > now ? journal->retry_at_usec - now : 0;
}

/* --- opening and closing --- */

/* Continues above everything that may have been given out; a difference to what is stored is a hole. */
static void continue_ids(struct journal *journal)
{
	uint64_t oldest = 0, newest = 0;
	int64_t floor = 0;
	if (journal->database && (database_bounds(journal, &oldest, &newest) != SQLITE_OK ||
					 query_number(journal, "SELECT floor FROM state", &floor) != SQLITE_OK))
		fail(journal, "reading it", sqlite3_errmsg(journal->database));
	journal->last = MAX_OF(newest, ids_read(journal));
	journal->flushed = journal->last;
	journal->stored_floor = (uint64_t)floor;
	journal->floor = journal->last > newest ? journal->last + 1 : MAX_OF(oldest, (uint64_t)floor);
	journal->floor = MAX_OF(journal->floor, (uint64_t)1);
}

int journal_open(struct journal **ret, const char *path, const struct journal_limits *limits)
{
	struct journal *journal = xcalloc(1, sizeof *journal);
	journal->path = text_dup(path);
	if (limits)
		journal->limits = *limits;
	journal->limits.age_usec = journal->limits.age_usec ? journal->limits.age_usec : DEFAULT_AGE;
	journal->limits.bytes = journal->limits.bytes ? journal->limits.bytes : DEFAULT_BYTES;
	journal->limits.retry_usec = journal->limits.retry_usec ? journal->limits.retry_usec : DEFAULT_RETRY;
	ids_open(journal);
	database_open(journal);
	continue_ids(journal);
	journal->unpruned = PRUNE_EVERY; /* the limits may be other ones than last time */
	if (!ids_reserve(journal))
		fail(journal, "reserving ids", strerror(errno));
	*ret = journal;
	return 0;
}

struct journal *journal_close(struct journal *journal)
{
	if (!journal)
		return NULL;
	journal_flush(journal);
	if (!ids_write(journal, journal->last, false))
		log_warning("journal: %s.ids could not be written", journal->path);
	closep(&journal->ids);
	database_close(journal);
	for (size_t i = 0; i < JOURNAL_MEMORY; i++)
		free(journal->ring[i].kind);
	free(journal->failure);
	free(journal->path);
	free(journal);
	return NULL;
}

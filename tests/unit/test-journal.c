/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The journal over real files: what it keeps, what it survives, and that its ids never go back. */

#include "daemon/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/suite.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED /* gcc; its shadow memory is no measure */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

#define T0 (UINT64_C(1795358400) * USEC_PER_SEC) /* 2026-11-22T14:40:00Z */

static char folder[] = "/tmp/holdfast-journal-XXXXXX";

static void make_folder(void)
{
	strcpy(folder + sizeof folder - 7, "XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
}

static const char *in_folder(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void remove_folder(void)
{
	static const char *const names[] = {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db.ids",
		"journal.db.broken", "journal.db.broken-wal", "journal.db.broken-shm", "filler"};
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		unlink(in_folder(names[i]));
	CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static struct journal *open_journal(const struct journal_limits *limits)
{
	struct journal *journal = NULL;
	CU_ASSERT_EQUAL_FATAL(journal_open(&journal, in_folder("journal.db"), limits), 0);
	return journal;
}

static uint64_t append_at(struct journal *journal, const char *kind, const char *tunnel, uint64_t usec)
{
	_cleanup_json_ json_object *event = json_object_new_object();
	json_object_object_add(event, "id", NULL);
	json_object_object_add(event, "time", NULL);
	json_object_object_add(event, "kind", json_object_new_string(kind));
	json_object_object_add(event, "tunnel", tunnel ? json_object_new_string(tunnel) : NULL);
	return journal_append(journal, event, usec);
}

static uint64_t append(struct journal *journal, const char *kind)
{
	return append_at(journal, kind, "home", T0);
}

static void append_many(struct journal *journal, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		append(journal, "stateChanged");
}

/* The ids of what a query gives, as "1 2 3", with " gap" behind where there is one. */
static const char *query(struct journal *journal, struct journal_filter filter)
{
	static char text[65536];
	_cleanup_json_ json_object *events = NULL;
	bool gap = false;
	size_t length = 0;
	text[0] = 0;
	filter.limit = filter.limit ? filter.limit : JOURNAL_QUERY_MAX;
	CU_ASSERT_EQUAL_FATAL(journal_query(journal, &filter, &events, &gap), 0);
	for (size_t i = 0; i < json_object_array_length(events); i++) {
		json_object *id = json_object_object_get(json_object_array_get_idx(events, i), "id");
		length += (size_t)snprintf(
			text + length, sizeof text - length, "%s%" PRId64, i ? " " : "", json_object_get_int64(id));
	}
	if (gap)
		snprintf(text + length, sizeof text - length, "%sgap", length ? " " : "");
	return text;
}

static size_t count_after(struct journal *journal, uint64_t after, bool *ret_gap)
{
	_cleanup_json_ json_object *events = NULL;
	struct journal_filter filter = {.after = after, .limit = JOURNAL_QUERY_MAX};
	CU_ASSERT_EQUAL_FATAL(journal_query(journal, &filter, &events, ret_gap), 0);
	return json_object_array_length(events);
}

/* --- tests --- */

static void events_are_completed(void)
{
	make_folder();
	struct journal *journal = open_journal(NULL);
	_cleanup_json_ json_object *event = json_object_new_object();
	json_object_object_add(event, "id", NULL);
	json_object_object_add(event, "time", NULL);
	json_object_object_add(event, "kind", json_object_new_string("daemonStarted"));
	CU_ASSERT_EQUAL(journal_last(journal), 0);
	CU_ASSERT_EQUAL(journal_append(journal, event, T0 + 1234567), 1);
	CU_ASSERT_EQUAL(journal_last(journal), 1);
	CU_ASSERT_STRING_EQUAL(json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN),
		"{\"id\":1,\"time\":\"2026-11-22T14:40:01.234Z\",\"kind\":\"daemonStarted\"}");
	journal = journal_close(journal);
	CU_ASSERT_PTR_NULL(journal);
	CU_ASSERT_PTR_NULL(journal_close(NULL));
	remove_folder();
}

static void events_outlive_a_restart(void)
{
	make_folder();
	struct journal *journal = open_journal(NULL);
	append_many(journal, 3);
	journal_close(journal);
	journal = open_journal(NULL);
	CU_ASSERT_EQUAL(journal_last(journal), 3);
	CU_ASSERT_EQUAL(append(journal, "stateChanged"), 4);
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = 0}), "1 2 3 4");
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = 2}), "3 4");
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = 4}), "");
	struct stat status;
	CU_ASSERT_EQUAL(stat(in_folder("journal.db"), &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
	journal_close(journal);
	remove_folder();
}

static void queries_join_memory_and_disk(void)
{
	make_folder();
	struct journal *journal = open_journal(NULL);
	for (unsigned i = 0; i < 2 * JOURNAL_MEMORY + 10; i++) {
		append(journal, "stateChanged");
		if (i % 100 == 0)
			journal_flush(journal);
	}
	uint64_t last = journal_last(journal);
	for (uint64_t after = 0; after < last; after += 7) {
		_cleanup_json_ json_object *events = NULL;
		struct journal_filter filter = {.after = after, .limit = JOURNAL_QUERY_MAX};
		bool gap = true;
		CU_ASSERT_EQUAL_FATAL(journal_query(journal, &filter, &events, &gap), 0);
		CU_ASSERT_FALSE(gap);
		CU_ASSERT_EQUAL(json_object_array_length(events), MIN_OF(last - after, (uint64_t)JOURNAL_QUERY_MAX));
		for (size_t i = 0; i < json_object_array_length(events); i++) {
			json_object *id = json_object_object_get(json_object_array_get_idx(events, i), "id");
			if ((uint64_t)json_object_get_int64(id) != after + 1 + i)
				CU_FAIL("an event is missing or out of order");
		}
	}
	journal_close(journal);
	remove_folder();
}

static void filters_hold_on_disk_and_in_memory(void)
{
	for (int on_disk = 0; on_disk < 2; on_disk++) {
		make_folder();
		struct journal *journal = open_journal(NULL);
		append_at(journal, "willStop", "home", T0 + 1);
		append_at(journal, "decision", "home", T0 + 2);
		append_at(journal, "decision", "work", T0 + 3);
		append_at(journal, "networkChanged", NULL, T0 + 4);
		if (on_disk) {
			journal_close(journal);
			journal = open_journal(NULL);
		}
		CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.kind = "decision"}), "2 3");
		CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.tunnel = "home"}), "1 2");
		CU_ASSERT_STRING_EQUAL(
			query(journal, (struct journal_filter){.kind = "decision", .tunnel = "work"}), "3");
		CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.since_usec = T0 + 3}), "3 4");
		CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.until_usec = T0 + 2}), "1 2");
		CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.limit = 2}), "1 2");
		CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.kind = "decision' OR 1=1 --"}), "");
		journal_close(journal);
		remove_folder();
	}
}

static void limits_of_queries_are_checked(void)
{
	make_folder();
	struct journal *journal = open_journal(NULL);
	json_object *events = NULL;
	bool gap;
	CU_ASSERT_EQUAL(journal_query(journal, &(struct journal_filter){.limit = 0}, &events, &gap), -EINVAL);
	CU_ASSERT_EQUAL(journal_query(journal, &(struct journal_filter){.limit = JOURNAL_QUERY_MAX + 1}, &events, &gap),
		-EINVAL);
	CU_ASSERT_PTR_NULL(events);
	journal_close(journal);
	remove_folder();
}

static void an_id_never_given_out_is_a_gap(void)
{
	make_folder();
	struct journal *journal = open_journal(NULL);
	append_many(journal, 2);
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = 3}), "gap");
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = UINT64_MAX}), "gap");
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = 2}), "");
	journal_close(journal);
	remove_folder();
}

/* In a child that ends without closing: what a SIGKILL or a crash leaves behind. */
static uint64_t crash_after(unsigned flushed, unsigned unflushed)
{
	int pipe_ends[2];
	uint64_t last = 0;
	CU_ASSERT_EQUAL_FATAL(pipe(pipe_ends), 0);
	pid_t child = fork();
	if (child == 0) {
		struct journal *journal;
		journal_open(&journal, in_folder("journal.db"), NULL);
		append_many(journal, flushed);
		journal_flush(journal);
		append_many(journal, unflushed);
		last = journal_last(journal);
		_exit(write(pipe_ends[1], &last, sizeof last) == sizeof last ? 0 : 1);
	}
	close(pipe_ends[1]);
	CU_ASSERT_EQUAL(read(pipe_ends[0], &last, sizeof last), sizeof last);
	close(pipe_ends[0]);
	waitpid(child, NULL, 0);
	return last;
}

static void ids_go_on_after_a_crash(void)
{
	make_folder();
	uint64_t last = 0;
	for (int round = 0; round < 3; round++) {
		uint64_t given = crash_after(5, 700);
		CU_ASSERT_TRUE(given >= last + 705);
		last = given;
	}
	struct journal *journal = open_journal(NULL);
	uint64_t id = append(journal, "daemonStarted");
	bool gap = false;
	CU_ASSERT_TRUE(id > last);
	CU_ASSERT_EQUAL(count_after(journal, 0, &gap), 16); /* 3 × 5 that were flushed, and this one */
	CU_ASSERT_TRUE(gap);
	journal_close(journal);
	remove_folder();
}

static void a_crash_hole_is_a_gap_ever_after(void)
{
	make_folder();
	crash_after(5, 2);
	struct journal *journal = open_journal(NULL);
	uint64_t id = append(journal, "daemonStarted");
	journal_close(journal);
	journal = open_journal(NULL);
	bool gap = false;
	count_after(journal, 5, &gap);
	CU_ASSERT_TRUE(gap);
	count_after(journal, id - 1, &gap);
	CU_ASSERT_FALSE(gap);
	CU_ASSERT_EQUAL(append(journal, "daemonStarted"), id + 1);
	journal_close(journal);
	remove_folder();
}

static void size_is_bounded(void)
{
	make_folder();
	struct journal_limits limits = {.bytes = 256 * 1024};
	struct journal *journal = open_journal(&limits);
	for (unsigned i = 0; i < 300; i++) {
		append_many(journal, 64);
		journal_flush(journal);
	}
	uint64_t last = journal_last(journal);
	bool gap = false;
	count_after(journal, 0, &gap);
	CU_ASSERT_TRUE(gap);
	journal_close(journal);
	struct stat status;
	CU_ASSERT_EQUAL(stat(in_folder("journal.db"), &status), 0);
	CU_ASSERT_TRUE(status.st_size <= 2 * 256 * 1024);
	journal = open_journal(&limits);
	CU_ASSERT_EQUAL(journal_last(journal), last);
	CU_ASSERT_TRUE(count_after(journal, last - 500, &gap) == 500);
	CU_ASSERT_FALSE(gap);
	journal_close(journal);
	remove_folder();
}

static void age_is_bounded(void)
{
	make_folder();
	struct journal_limits limits = {.age_usec = 3600 * USEC_PER_SEC};
	struct journal *journal = open_journal(&limits);
	for (unsigned i = 0; i < 2000; i++)
		append_at(journal, "stateChanged", NULL, T0 + i * USEC_PER_SEC);
	journal_flush(journal);
	append_at(journal, "stateChanged", NULL, T0 + 4600 * USEC_PER_SEC);
	for (unsigned i = 0; i < 2000; i++)
		append_at(journal, "stateChanged", NULL, T0 + 4600 * USEC_PER_SEC);
	journal_flush(journal);
	const char *ids = query(journal, (struct journal_filter){.limit = 1});
	CU_ASSERT_STRING_EQUAL(ids, "1001 gap"); /* 1000 s of 4600 s are older than an hour */
	journal_close(journal);
	remove_folder();
}

static void a_broken_file_is_set_aside(void)
{
	static const char rubbish[] = "this is no database, whatever its name says; it is longer than a header of "
				      "SQLite, which has 100 bytes.";
	make_folder();
	struct journal *journal = open_journal(NULL);
	append_many(journal, 3);
	journal_close(journal);
	CU_ASSERT_EQUAL(file_write_atomic(in_folder("journal.db"), rubbish, sizeof rubbish, 0600), 0);
	journal = open_journal(NULL);
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	CU_ASSERT_EQUAL(access(in_folder("journal.db.broken"), F_OK), 0);
	CU_ASSERT_EQUAL(append(journal, "daemonStarted"), 4); /* the ids do not stand in the file that was lost */
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = 0}), "4 gap");
	journal_close(journal);
	journal = open_journal(NULL);
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = 3}), "4");
	journal_close(journal);
	remove_folder();
}

static void sqlite_run(const char *sql)
{
	sqlite3 *database;
	CU_ASSERT_EQUAL_FATAL(sqlite3_open(in_folder("journal.db"), &database), SQLITE_OK);
	CU_ASSERT_EQUAL(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(database);
}

static void other_formats_are_set_aside(void)
{
	static const char *const changes[] = {
		"PRAGMA user_version = 2", "PRAGMA application_id = 7", "DROP TABLE state"};
	for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
		make_folder();
		struct journal *journal = open_journal(NULL);
		append_many(journal, 3);
		journal_close(journal);
		sqlite_run(changes[i]);
		journal = open_journal(NULL);
		CU_ASSERT_PTR_NULL(journal_failure(journal));
		CU_ASSERT_EQUAL(access(in_folder("journal.db.broken"), F_OK), 0);
		CU_ASSERT_EQUAL(append(journal, "daemonStarted"), 4);
		journal_close(journal);
		remove_folder();
	}
}

/* Over everything but the header and the schema. */
static void overwrite_database(void)
{
	struct stat status;
	CU_ASSERT_EQUAL(stat(in_folder("journal.db"), &status), 0);
	_cleanup_free_ char *noise = xcalloc(1, (size_t)status.st_size);
	memset(noise, 0xa5, (size_t)status.st_size);
	int fd = open(in_folder("journal.db"), O_WRONLY | O_CLOEXEC);
	CU_ASSERT_TRUE(pwrite(fd, noise, (size_t)status.st_size - 8192, 8192) > 0);
	close(fd);
}

static void corruption_while_running_is_survived(void)
{
	make_folder();
	struct journal_limits limits = {.retry_usec = 1};
	struct journal *journal = open_journal(&limits);
	for (int i = 0; i < 50; i++) {
		append_many(journal, 100);
		journal_flush(journal);
	}
	overwrite_database();
	for (int i = 0; i < 30; i++) {
		append_many(journal, 10);
		journal_flush(journal);
	}
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	CU_ASSERT_EQUAL(access(in_folder("journal.db.broken"), F_OK), 0);
	CU_ASSERT_EQUAL(journal_last(journal), 5300);
	bool gap = false;
	count_after(journal, 1, &gap);
	CU_ASSERT_TRUE(gap);
	journal_close(journal);
	journal = open_journal(&limits);
	CU_ASSERT_EQUAL(count_after(journal, 5300 - 900, &gap),
		900); /* what was in memory went to the new file, the written too */
	CU_ASSERT_FALSE(gap);
	count_after(journal, 1, &gap);
	CU_ASSERT_TRUE(gap);
	journal_close(journal);
	remove_folder();
}

static void corruption_found_at_the_start_is_survived(void)
{
	make_folder();
	struct journal_limits limits = {.retry_usec = 1};
	struct journal *journal = open_journal(&limits);
	append_many(journal, 5000);
	journal_close(journal);
	overwrite_database();
	journal = open_journal(&limits);
	append_many(journal, 3);
	journal_flush(journal);
	append_many(journal, 1);
	journal_flush(journal);
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	CU_ASSERT_TRUE(journal_last(journal) >= 5004);
	journal_close(journal);
	remove_folder();
}

static void a_torn_transaction_is_dropped(void)
{
	make_folder();
	crash_after(5, 0);
	struct stat status;
	CU_ASSERT_EQUAL(stat(in_folder("journal.db-wal"), &status), 0);
	CU_ASSERT_EQUAL(truncate(in_folder("journal.db-wal"), status.st_size - 100), 0);
	struct journal *journal = open_journal(NULL);
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	CU_ASSERT_TRUE(append(journal, "daemonStarted") > 5);
	bool gap;
	CU_ASSERT_EQUAL(count_after(journal, 0, &gap), 1);
	CU_ASSERT_TRUE(gap);
	journal_close(journal);
	remove_folder();
}

static void fill_disk(void)
{
	static char block[4096];
	int fd = open(in_folder("filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, block, sizeof block) > 0)
		;
	CU_ASSERT_EQUAL(errno, ENOSPC);
	close(fd);
}

/* A tmpfs of half a MiB in a mount namespace of this process's own. */
static void mount_small_disk(void)
{
	CU_ASSERT_EQUAL_FATAL(unshare(CLONE_NEWNS), 0);
	CU_ASSERT_EQUAL_FATAL(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(mount("tmpfs", folder, "tmpfs", 0, "size=512k,mode=700"), 0);
}

static void a_full_disk_stops_recording_only(void)
{
	struct journal_limits limits = {.retry_usec = 1};
	make_folder();
	mount_small_disk();
	struct journal *journal = open_journal(&limits);
	append_many(journal, 10);
	journal_flush(journal);
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	fill_disk();
	for (unsigned i = 0; i < 20; i++) {
		append_many(journal, 50);
		journal_flush(journal);
	}
	CU_ASSERT_PTR_NOT_NULL_FATAL(journal_failure(journal));
	CU_ASSERT_PTR_NOT_NULL(strstr(journal_failure(journal), "full"));
	bool gap = true;
	CU_ASSERT_EQUAL(count_after(journal, 510, &gap), 500);
	CU_ASSERT_FALSE(gap);
	CU_ASSERT_EQUAL(unlink(in_folder("filler")), 0);
	append(journal, "stateChanged");
	journal_flush(journal);
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	journal_close(journal);
	journal = open_journal(&limits);
	CU_ASSERT_EQUAL(journal_last(journal), 1011);
	CU_ASSERT_EQUAL(count_after(journal, 511, &gap), 500); /* written after all */
	CU_ASSERT_FALSE(gap);
	journal_close(journal);
	CU_ASSERT_EQUAL(umount(folder), 0);
	remove_folder();
}

static void ids_go_on_after_a_full_disk(void)
{
	struct journal_limits limits = {.retry_usec = 1};
	make_folder();
	mount_small_disk();
	crash_after(10, 0);
	fill_disk();
	uint64_t last = crash_after(9000, 9000); /* far beyond the block that was reserved before the disk was full */
	struct journal *journal = open_journal(&limits);
	CU_ASSERT_TRUE(append(journal, "daemonStarted") > last);
	journal_close(journal);
	CU_ASSERT_EQUAL(umount(folder), 0);
	remove_folder();
}

static void a_failure_ends_without_anything_new(void)
{
	struct journal_limits limits = {.retry_usec = 1};
	make_folder();
	mount_small_disk();
	struct journal *journal = open_journal(&limits);
	CU_ASSERT_EQUAL(journal_retry_in(journal), UINT64_MAX);
	fill_disk();
	append_many(journal, 300);
	journal_flush(journal);
	CU_ASSERT_PTR_NOT_NULL(journal_failure(journal));
	CU_ASSERT_TRUE(journal_retry_in(journal) <= 1);
	CU_ASSERT_EQUAL(unlink(in_folder("filler")), 0);
	while (journal_retry_in(journal) > 0)
		; /* a microsecond */
	journal_flush(journal);
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	CU_ASSERT_EQUAL(journal_retry_in(journal), UINT64_MAX);
	journal_close(journal);
	CU_ASSERT_EQUAL(umount(folder), 0);
	remove_folder();
}

static void a_read_only_disk_stops_recording_only(void)
{
	struct journal_limits limits = {.retry_usec = 1};
	make_folder();
	mount_small_disk();
	crash_after(5, 0);
	CU_ASSERT_EQUAL_FATAL(mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	struct journal *journal = open_journal(&limits);
	append_many(journal, 3);
	journal_flush(journal);
	CU_ASSERT_PTR_NOT_NULL(journal_failure(journal));
	CU_ASSERT_TRUE(journal_last(journal) > 5 + 3); /* none is given out again */
	bool gap;
	CU_ASSERT_EQUAL(count_after(journal, journal_last(journal) - 3, &gap), 3);
	CU_ASSERT_EQUAL_FATAL(mount(NULL, folder, NULL, MS_REMOUNT, NULL), 0);
	while (journal_retry_in(journal) > 0)
		;
	journal_flush(journal);
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	CU_ASSERT_EQUAL(access(in_folder("journal.db.broken"), F_OK), -1); /* what could only be read is not broken */
	journal_close(journal);
	journal = open_journal(&limits);
	CU_ASSERT_EQUAL(count_after(journal, 0, &gap), 8);
	journal_close(journal);
	CU_ASSERT_EQUAL(umount(folder), 0);
	remove_folder();
}

/* Nothing could be read at the start, and what comes to light later has rows of the same ids. */
static void rows_that_come_to_light_are_not_overwritten(void)
{
	struct journal_limits limits = {.retry_usec = 1};
	make_folder();
	crash_after(5, 0);
	char hidden[sizeof folder + 8];
	snprintf(hidden, sizeof hidden, "%s-hidden", folder);
	CU_ASSERT_EQUAL_FATAL(rename(folder, hidden), 0);
	struct journal *journal = open_journal(&limits);
	append_many(journal, 3);
	journal_flush(journal);
	CU_ASSERT_PTR_NOT_NULL(journal_failure(journal));
	CU_ASSERT_EQUAL_FATAL(rename(hidden, folder), 0);
	for (int turn = 0; turn < 2; turn++) {
		while (journal_retry_in(journal) > 0 && journal_failure(journal))
			;
		journal_flush(journal);
	}
	CU_ASSERT_PTR_NULL(journal_failure(journal));
	CU_ASSERT_EQUAL(access(in_folder("journal.db.broken"), F_OK), 0);
	bool gap;
	CU_ASSERT_EQUAL(count_after(journal, 0, &gap), 3);
	journal_close(journal);
	remove_folder();
}

/* Kinds, tunnels and times in a pattern that no page's length divides. */
static uint64_t append_mixed(struct journal *journal, unsigned i)
{
	static const char *const kinds[] = {"decision", "stateChanged", "willStop"}, *const tunnels[] = {"home", "work"};
	return append_at(journal, kinds[i % 3], tunnels[i / 3 % 2], T0 + i * USEC_PER_SEC);
}

static bool is_wanted(unsigned i)
{
	return i % 3 == 0 && i / 3 % 2 == 0 && i >= 50;
}

struct paging {
	uint64_t wanted[8192]; /* the ids of what the filter names, as they were given */
	size_t wanted_count, found, lost;
	unsigned appended, gaps;
	uint64_t after;
};

static void add_more(struct journal *journal, struct paging *paging, unsigned count)
{
	for (unsigned i = 0; i < count; i++, paging->appended++) {
		uint64_t id = append_mixed(journal, paging->appended);
		if (is_wanted(paging->appended))
			paging->wanted[paging->wanted_count++] = id;
	}
	journal_flush(journal);
}

/* One page; each row must be the next that is wanted, those in between being lost. Whether the page was full. */
static bool turn_page(struct journal *journal, struct paging *paging)
{
	const struct journal_filter filter = {
		.after = paging->after, .tunnel = "home", .kind = "decision", .since_usec = T0 + 50 * USEC_PER_SEC, .limit = 7};
	_cleanup_json_ json_object *events = NULL;
	bool gap;
	size_t lost_before = paging->lost;
	CU_ASSERT_EQUAL_FATAL(journal_query(journal, &filter, &events, &gap), 0);
	size_t count = json_object_array_length(events);
	for (size_t i = 0; i < count; i++) {
		uint64_t id = json_object_get_uint64(json_object_object_get(json_object_array_get_idx(events, i), "id"));
		CU_ASSERT_TRUE(id > paging->after);
		while (paging->found + paging->lost < paging->wanted_count && paging->wanted[paging->found + paging->lost] != id)
			paging->lost++;
		CU_ASSERT_TRUE_FATAL(paging->found + paging->lost < paging->wanted_count); /* else it came twice, or was never asked for */
		paging->found++;
		paging->after = id;
	}
	paging->gaps += gap;
	CU_ASSERT_TRUE(gap || paging->lost == lost_before);
	return count == filter.limit;
}

/* Reads on while events are added between the pages, until all was read. */
static struct paging *read_pages(struct journal *journal)
{
	struct paging *paging = xcalloc(1, sizeof *paging);
	add_more(journal, paging, 6000);
	for (unsigned page = 0; turn_page(journal, paging) || page < 100; page++)
		if (page < 100)
			add_more(journal, paging, 60);
	return paging;
}

static void pages_neither_lose_nor_repeat(void)
{
	make_folder();
	struct journal *journal = open_journal(NULL);
	_cleanup_free_ struct paging *all = read_pages(journal);
	CU_ASSERT_EQUAL(all->found, all->wanted_count);
	CU_ASSERT_EQUAL(all->gaps, 0);
	CU_ASSERT_TRUE(all->found > 1500);
	journal_close(journal);
	remove_folder();
	make_folder();
	struct journal_limits limits = {.bytes = 256 * 1024};
	journal = open_journal(&limits);
	_cleanup_free_ struct paging *pruned = read_pages(journal);
	CU_ASSERT_TRUE(pruned->lost > 0 && pruned->gaps > 0); /* and no page hid it: turn_page() has seen to that */
	CU_ASSERT_EQUAL(pruned->found + pruned->lost, pruned->wanted_count);
	journal_close(journal);
	remove_folder();
}

static void memory_overflow_is_a_gap(void)
{
	struct journal_limits limits = {.retry_usec = 3600 * USEC_PER_SEC};
	make_folder();
	mount_small_disk();
	struct journal *journal = open_journal(&limits);
	append_many(journal, 10);
	journal_flush(journal);
	fill_disk();
	append_many(journal, 4 * JOURNAL_MEMORY);
	journal_flush(journal);
	uint64_t last = journal_last(journal);
	bool gap = false;
	CU_ASSERT_EQUAL(last, 10 + 4 * JOURNAL_MEMORY);
	count_after(journal, 10, &gap);
	CU_ASSERT_TRUE(gap);
	CU_ASSERT_EQUAL(count_after(journal, last - 900, &gap), 900);
	CU_ASSERT_FALSE(gap);
	journal_close(journal);
	CU_ASSERT_EQUAL(umount(folder), 0);
	remove_folder();
}

static void a_folder_that_is_missing_leaves_memory(void)
{
	struct journal *journal;
	CU_ASSERT_EQUAL_FATAL(journal_open(&journal, "/nonexistent/journal.db", NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(journal_failure(journal));
	CU_ASSERT_EQUAL(append(journal, "daemonStarted"), 1);
	journal_flush(journal);
	CU_ASSERT_STRING_EQUAL(query(journal, (struct journal_filter){.after = 0}), "1");
	journal_close(journal);
}

static void a_locked_file_is_not_broken(void)
{
	make_folder();
	struct journal *first = open_journal(NULL);
	append_many(first, 3);
	journal_flush(first);
	struct journal *second = open_journal(NULL);
	CU_ASSERT_PTR_NOT_NULL(journal_failure(second));
	CU_ASSERT_EQUAL(access(in_folder("journal.db.broken"), F_OK), -1);
	append(first, "stateChanged");
	journal_flush(first);
	CU_ASSERT_PTR_NULL(journal_failure(first));
	journal_close(second);
	journal_close(first);
	remove_folder();
}

static uint64_t private_bytes(void)
{
	uint64_t total = 0, kilobytes;
	char line[256];
	_cleanup_fclose_ FILE *file = fopen("/proc/self/smaps_rollup", "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Private_Dirty: %" SCNu64, &kilobytes) == 1)
			total = kilobytes * 1024;
	return total;
}

struct cost {
	double append_usec;
	uint64_t grown;
};

/* In a child: memory that earlier tests freed would hide what the journal takes. */
static struct cost measure(void)
{
	struct timespec begin, end;
	uint64_t before = private_bytes();
	struct journal *journal;
	journal_open(&journal, in_folder("journal.db"), NULL);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	append_many(journal, JOURNAL_MEMORY);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	for (unsigned i = 0; i < 20000; i++) {
		append(journal, "stateChanged");
		if (i % 8 == 0)
			journal_flush(journal);
	}
	double usec = (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3;
	struct cost cost = {usec / JOURNAL_MEMORY, private_bytes() - before};
	journal_close(journal);
	return cost;
}

/* The time is bounded loosely, so that a busy machine does not fail it: ten times what was promised. */
static void appending_is_cheap_and_memory_small(void)
{
	int pipe_ends[2];
	struct cost cost;
	make_folder();
	CU_ASSERT_EQUAL_FATAL(pipe(pipe_ends), 0);
	pid_t child = fork();
	if (child == 0) {
		cost = measure();
		_exit(write(pipe_ends[1], &cost, sizeof cost) == sizeof cost ? 0 : 1);
	}
	close(pipe_ends[1]);
	CU_ASSERT_EQUAL_FATAL(read(pipe_ends[0], &cost, sizeof cost), sizeof cost);
	close(pipe_ends[0]);
	waitpid(child, NULL, 0);
	printf("# append: %.1f us of processor time; private memory: %" PRIu64 " KiB\n", cost.append_usec,
		cost.grown / 1024);
	CU_ASSERT_TRUE(cost.append_usec < 200);
#ifndef SANITIZED
	CU_ASSERT_TRUE(cost.grown > 0 && cost.grown < 1200 * 1024);
#endif
	remove_folder();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"an event gets an id and a time, in the places it left for them", events_are_completed},
		{"events and ids outlive a restart, in a file for its owner alone", events_outlive_a_restart},
		{"a query finds every event once, in memory or on disk", queries_join_memory_and_disk},
		{"filters mean the same on disk and in memory", filters_hold_on_disk_and_in_memory},
		{"a query's limit must be in range", limits_of_queries_are_checked},
		{"an id that was never given out is a gap", an_id_never_given_out_is_a_gap},
		{"ids never go back after crashes with unwritten events", ids_go_on_after_a_crash},
		{"events lost by a crash are a gap, after further restarts too", a_crash_hole_is_a_gap_ever_after},
		{"the file keeps to its size", size_is_bounded},
		{"events older than the limit go", age_is_bounded},
		{"a file that is no database is set aside, and ids go on", a_broken_file_is_set_aside},
		{"a newer format and other applications' databases are set aside", other_formats_are_set_aside},
		{"corruption met while running: a new file, and what is in memory is written to it",
			corruption_while_running_is_survived},
		{"corruption met at the start: a new file, and ids go on", corruption_found_at_the_start_is_survived},
		{"a torn transaction is dropped whole", a_torn_transaction_is_dropped},
		{"a full disk stops recording and nothing else, and is caught up with",
			a_full_disk_stops_recording_only},
		{"ids never go back after a full disk", ids_go_on_after_a_full_disk},
		{"a failure ends by itself, with nothing new to write", a_failure_ends_without_anything_new},
		{"a disk that is read-only stops recording and nothing else", a_read_only_disk_stops_recording_only},
		{"rows that come to light later are not overwritten", rows_that_come_to_light_are_not_overwritten},
		{"pages under a filter neither lose nor repeat a row while rows are added, and say so where some were pruned",
			pages_neither_lose_nor_repeat},
		{"what memory could not hold while the disk failed is a gap", memory_overflow_is_a_gap},
		{"without a folder there is memory", a_folder_that_is_missing_leaves_memory},
		{"a file that another process holds is not taken for broken", a_locked_file_is_not_broken},
		{"appending is cheap, and the journal's memory small", appending_is_cheap_and_memory_small},
	};
	return suite_run("journal", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The tree is walked through directories named *.slice that belong to root. inotify(7) tells of directories made and removed in
 * cgroupfs, and of changes of cgroup.events.
 */

#include "network/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "util/macro.h"
#include "util/text.h"

#define DEPTH_MAX 16

/* Not so where something else was mounted over it. */
static bool is_cgroup2(const char *path)
{
	struct statfs status;
	return statfs(path, &status) == 0 && status.f_type == CGROUP2_SUPER_MAGIC;
}

/* Where the whole tree (of this cgroup namespace) is mounted. The caller frees it. */
static char *find_mount(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	while (file && getline(&line, &size, file) > 0) {
		char root[256], point[256];
		if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s %255s %255s", root, point) == 2 && strcmp(root, "/") == 0 &&
			is_cgroup2(point))
			return text_dup(point);
	}
	return NULL;
}

static bool is_slice(const char *name)
{
	size_t length = strlen(name);
	return length > 6 && strcmp(name + length - 6, ".slice") == 0;
}

static int open_folder(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* Called for each slice, the root first. True: enough. */
typedef bool (*slice_visitor)(int folder, const char *path, void *userdata);

static bool walk(int folder, const char *path, unsigned depth, slice_visitor visit, void *userdata)
{
	struct stat status;
	if (fstat(folder, &status) < 0 || status.st_uid != 0)
		return false;
	if (visit(folder, path, userdata))
		return true;
	int copy = depth < DEPTH_MAX ? open_folder(folder, ".") : -1;
	DIR *entries = copy < 0 ? NULL : fdopendir(copy);
	bool enough = false;
	for (struct dirent *entry; entries && !enough && (entry = readdir(entries));) {
		_cleanup_close_ int below = is_slice(entry->d_name) ? open_folder(folder, entry->d_name) : -1;
		if (below < 0)
			continue;
		_cleanup_free_ char *further = text_format("%s/%s", path, entry->d_name);
		enough = walk(below, further, depth + 1, visit, userdata);
	}
	if (entries)
		closedir(entries);
	return enough;
}

static int walk_all(slice_visitor visit, void *userdata)
{
	_cleanup_free_ char *mount = find_mount();
	_cleanup_close_ int root = mount ? open_folder(AT_FDCWD, mount) : -EOPNOTSUPP;
	if (root < 0)
		return root;
	(void)walk(root, "", 0, visit, userdata);
	return 0;
}

/* ---- finding ---- */

struct search {
	const char *name;
	char *path;
};

static bool look(int folder, const char *path, void *userdata)
{
	struct search *search = userdata;
	struct stat status;
	if (fstatat(folder, search->name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(status.st_mode))
		return false;
	search->path = text_format("%s/%s", path, search->name);
	return true;
}

static int exists(const char *path)
{
	_cleanup_close_ int fd = cgroup_open(path);
	return fd < 0 ? fd : 0;
}

/* systemd.slice(5): a-b.slice lies in a.slice. The caller frees it. */
static char *slice_path(const char *name)
{
	struct text path = TEXT_NULL;
	size_t stem = strlen(name) - strlen(".slice");
	for (size_t i = 1; i <= stem; i++)
		if (name[i] == '-' || i == stem)
			text_append(&path, "/%.*s.slice", (int)i, name);
	return text_steal(&path);
}

static int find_unit(const char *name, char **ret_path)
{
	struct search search = {.name = name};
	int r = walk_all(look, &search);
	if (r < 0)
		return r;
	if (!search.path)
		return -ENOENT;
	*ret_path = search.path;
	return 0;
}

int cgroup_find(enum cgroup_kind kind, const char *name, char **ret_path)
{
	if (kind == CGROUP_UNIT)
		return find_unit(name, ret_path);
	if (kind == CGROUP_SLICE && !is_slice(name))
		return -EINVAL;
	_cleanup_free_ char *path = kind == CGROUP_USER ? text_format("/user.slice/user-%s.slice", name) : slice_path(name);
	int r = exists(path);
	if (r == 0)
		*ret_path = STEAL(path);
	return r;
}

int cgroup_open(const char *path)
{
	_cleanup_free_ char *mount = find_mount();
	if (!mount)
		return -EOPNOTSUPP;
	_cleanup_free_ char *whole = text_format("%s%s", mount, path);
	return open_folder(AT_FDCWD, whole);
}

/* Whether WHO ("self", or a number) is in the cgroup at PATH: what may follow that in its line is one of ENDS. */
static bool is_in(const char *who, const char *path, const char *ends)
{
	_cleanup_free_ char *name = text_format("/proc/%s/cgroup", who);
	_cleanup_fclose_ FILE *file = fopen(name, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0, length = strlen(path);
	while (file && getline(&line, &size, file) > 0)
		if (strncmp(line, "0::", 3) == 0 && strncmp(line + 3, path, length) == 0 && strchr(ends, line[3 + length]))
			return true;
	return false;
}

bool cgroup_is_ours(const char *path)
{
	return is_in("self", path, "/\n");
}

bool cgroup_has(const char *path, pid_t pid)
{
	_cleanup_free_ char *who = text_format("%d", (int)pid);
	return is_in(who, path, "\n");
}

int cgroup_move(int cgroup_fd, pid_t pid)
{
	_cleanup_close_ int procs = openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	return procs < 0 || dprintf(procs, "%d", (int)pid) < 0 ? -errno : 0;
}

int cgroup_populated(int cgroup_fd)
{
	char text[128] = "";
	_cleanup_close_ int events = openat(cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (events < 0 || read(events, text, sizeof text - 1) < 0)
		return -errno;
	return strstr(text, "populated 1") != NULL;
}

struct each {
	void (*found)(int cgroup_fd, const char *path, void *userdata);
	void *userdata;
};

static bool tell_children(int folder, const char *path, void *userdata)
{
	const struct each *each = userdata;
	int copy = open_folder(folder, ".");
	DIR *entries = copy < 0 ? NULL : fdopendir(copy);
	for (struct dirent *entry; entries && (entry = readdir(entries));) {
		_cleanup_close_ int child = entry->d_type == DT_DIR && entry->d_name[0] != '.' ? open_folder(folder, entry->d_name) : -1;
		_cleanup_free_ char *whole = text_format("%s/%s", path, entry->d_name);
		if (child >= 0)
			each->found(child, whole, each->userdata);
	}
	if (entries)
		closedir(entries);
	return false;
}

int cgroup_each(void (*found)(int cgroup_fd, const char *path, void *userdata), void *userdata)
{
	struct each each = {found, userdata};
	return walk_all(tell_children, &each);
}

/* ---- watching ---- */

struct cgroup_watch {
	int inotify;
	sd_event_source *source;
	void (*changed)(void *userdata);
	void *userdata;
};

static bool watch_slice(int folder, const char *path, void *userdata)
{
	struct cgroup_watch *watch = userdata;
	char name[64];
	snprintf(name, sizeof name, "/proc/self/fd/%d", folder);
	(void)inotify_add_watch(watch->inotify, name, IN_CREATE | IN_DELETE | IN_ONLYDIR);
	return false;
}

/* What lies in a slice that was just made is found by the callback, which looks after the slice is watched. */
static int on_inotify(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct cgroup_watch *watch = userdata;
	char buffer[4096];
	while (read(watch->inotify, buffer, sizeof buffer) > 0)
		;
	(void)walk_all(watch_slice, watch);
	watch->changed(watch->userdata);
	return 0;
}

int cgroup_watch_new(struct cgroup_watch **ret, sd_event *event, void (*changed)(void *userdata), void *userdata)
{
	struct cgroup_watch *watch = xcalloc(1, sizeof *watch);
	*watch = (struct cgroup_watch){.changed = changed, .userdata = userdata};
	watch->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int r = watch->inotify < 0 ? -errno : walk_all(watch_slice, watch);
	if (r == 0)
		r = sd_event_add_io(event, &watch->source, watch->inotify, EPOLLIN, on_inotify, watch);
	if (r < 0) {
		cgroup_watch_free(watch);
		return r;
	}
	*ret = watch;
	return 0;
}

struct cgroup_watch *cgroup_watch_free(struct cgroup_watch *watch)
{
	if (!watch)
		return NULL;
	sd_event_source_disable_unref(watch->source);
	closep(&watch->inotify);
	free(watch);
	return NULL;
}

int cgroup_watch_empty(struct cgroup_watch *watch, int cgroup_fd)
{
	char name[64];
	snprintf(name, sizeof name, "/proc/self/fd/%d/cgroup.events", cgroup_fd);
	return inotify_add_watch(watch->inotify, name, IN_MODIFY) < 0 ? -errno : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel's settings under /proc/sys (of the calling process's network namespace), for the files of this folder only. What is
 * the host's is kept before it is changed, and put back.
 */

/* PATH is relative to /proc/sys ("net/ipv4/conf/all/rp_filter"); the value is a small number. Negative errno. */
int sysctl_read(const char *path);
/* Writes only where the value differs. */
int sysctl_write(const char *path, int value);

/* Sets PATH to VALUE; where that is a change, STORE (a JSON file) has the former value first. */
int sysctl_hold(const char *store, const char *path, int value);
/* Tells each setting that STORE has; PRESENT is what stands now, or a negative errno. */
void sysctl_each_held(const char *store, void (*told)(const char *path, int former, int held, int present, void *userdata), void *userdata);
/* Puts back what STORE has, but for values that somebody else has changed since, and removes it. 0 also where there is no store. */
int sysctl_restore(const char *store);

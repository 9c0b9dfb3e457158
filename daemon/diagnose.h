/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Diagnose: what stands against the promises on this machine, and what is lost by what it lacks. Each file has checks of one kind; each
 * looks at what is now, once, with a bound on what it reads, and adds what it found. What cannot be looked at is said, never passed over.
 */

#include "daemon/finding.h"

struct manager;

void diagnose_own(struct manager *manager, struct findings *findings);	  /* Holdfast itself */
void diagnose_host(struct manager *manager, struct findings *findings);	  /* what the kernel, its settings and the disk lack */
void diagnose_beside(struct manager *manager, struct findings *findings); /* who else is on its network */

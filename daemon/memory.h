/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Giving memory back that only starting up, or a commit that is over, needed. */

/* The pages of code that start-up touched (libraries that initialise themselves) are unmapped; what runs on is mapped again at once. */
void memory_forget_start(void);

/* The heap's free pages go back to the kernel: a commit needs some MiB for a moment. */
void memory_trim(void);

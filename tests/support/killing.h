/* A process that writes to a store on the real file system is killed at a random moment, again and again, on the same
 * store. It tells through a pipe what it is about to do and what has returned, in notes of a fixed size; after a kill
 * the store is opened, and the test looks whether what is there is what it heard of.
 *
 * The child is forked, so it has the test's memory as it was then, and nothing that it changes in it comes back: only
 * notes do. The calls below, but for `write`, are made in the parent, one at a time. Times are microseconds. A failing
 * step fails the test, and so does a child that ends by itself. */
#ifndef CAIRN_TESTS_KILLING_H
#define CAIRN_TESTS_KILLING_H

#include "include/cairn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KILLING_NOTE_MAX 512u /* bytes; a write of so many to a pipe is one piece (_POSIX_PIPE_BUF) */

typedef struct killing {
    void *ctx;        /* handed to each call */
    size_t note_size; /* bytes, at most KILLING_NOTE_MAX: of a struct of the test's */

    /* Options of the next opening, by the child or for a look. */
    cairn_options (*options)(uint64_t *rng);
    /* A new store begins, in which nothing is: what was heard before is about another one. */
    void (*begin)(void *ctx);
    /* The child: tells and writes until it is killed, on threads of its own as well. Never returns. A call that fails
     * ends the process by CHECK. */
    void (*write)(void *ctx, cairn *store, int pipe, uint64_t rng);
    /* One note, in the order of the writes to the pipe; all that were written before the kill are heard, and none is
     * half. Whether it tells of a call that returned. */
    bool (*hear)(void *ctx, const void *note);
    /* After a kill: what must be there is there, and from now on it is what is there. */
    void (*look)(void *ctx, cairn *store);

    uint64_t delay_max;               /* a kill comes sooner than that after the fork */
    uint64_t early_one_in, early_max; /* of so many kills one is early: perhaps in an opening, and so in a recovery */
    uint64_t unseen_one_in;           /* after so many kills one look is left out; 0: none is */
    uint64_t store_bytes_max;         /* of files; then the next store is begun */
} killing;

/* CAIRN_SEED=n repeats the choices, though not the moments, of one run. The last kill is looked at. */
void killing_run(const killing *k, uint64_t kills);

/* For the child. */
void killing_tell(int pipe, const void *note, size_t size);

#endif

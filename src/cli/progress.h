/* One line of progress on standard error: percent, bytes or keys, rate, time left.
 *
 * Shown where standard error is a terminal, and then only for work that lasts longer than a blink, or always where it
 * was asked for. Redrawn at most ten times a second. One progress is alive at a time, used by one thread;
 * the line on the screen belongs to the lock of the stderr stream.
 */
#ifndef CAIRN_CLI_PROGRESS_H
#define CAIRN_CLI_PROGRESS_H

#include "src/cli/args.h"

#define PROGRESS_TOTAL_UNKNOWN UINT64_MAX

typedef enum progress_unit { PROGRESS_BYTES, PROGRESS_KEYS } progress_unit;

typedef struct progress {
    progress_unit unit;
    bool shown, drawn; /* may be drawn; was, or must be at the end */
    uint64_t done, total;
    uint64_t start_ms, next_draw_ms;
} progress;

/* Whether progress_begin would show anything: for work that is done for the sake of the total. */
bool progress_wanted(const arguments *args);

void progress_begin(progress *p, const arguments *args, uint64_t total); /* in bytes */
void progress_begin_keys(progress *p, const arguments *args);
void progress_add(progress *p, uint64_t more);
void progress_set(progress *p, uint64_t done, uint64_t total);
/* Draws the last state when it was shown at all, and ends the line. */
void progress_end(progress *p);

/* Takes the line away before something else is printed; the caller holds the lock of stderr. It comes back with the
 * next step. */
void progress_erase(void);

/* Bytes for people: "1.5 MiB". */
#define HUMAN_SIZE 24
const char *human_bytes(char text[HUMAN_SIZE], uint64_t bytes);
/* A line of a table on standard output. */
void print_bytes(const char *name, uint64_t bytes);

#endif

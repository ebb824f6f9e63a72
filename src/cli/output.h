/* What the program says: data on standard output, everything else on standard error, and the exit code.
 *
 * Standard output is data, byte for byte. A write to it that fails is never silent: the calls here return false, and
 * output_finish looks at what was still buffered. Standard error takes whole lines under its stream's lock, so the
 * store's threads may log at any time; a progress line that is drawn there is erased first.
 * Names and messages are shown so that no byte of a key or a file name can drive a terminal.
 */
#ifndef CAIRN_CLI_OUTPUT_H
#define CAIRN_CLI_OUTPUT_H

#include "include/cairn.h"
#include "src/cli/json.h"

enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_ABSENT = 3,
    EXIT_NO_STORE = 4,
    EXIT_CORRUPT = 5,
    EXIT_BUSY = 6,
    EXIT_NO_SPACE = 7,
    EXIT_REJECTED = 8,
    EXIT_INTERRUPTED = 130
};

typedef struct output_mode {
    bool json, nul_keys, quiet, verbose;
} output_mode;

/* Once, before any other call here and before any thread. */
void output_setup(output_mode mode);
const output_mode *output_modes(void);

int exit_code_of(int cairn_code);

/* Of the exit codes of two parts of one command, the one that the whole ends with: damage, then failure, then
 * rejected, then absent. */
int exit_code_worse(int one, int other);

/* ---- Standard error ---- */

/* What a message is about; the bytes are the caller's. */
typedef struct subject {
    enum { ABOUT_NOTHING, ABOUT_KEY, ABOUT_FILE } kind;
    byte_view name;
} subject;

static inline subject about_nothing(void) { return (subject){.kind = ABOUT_NOTHING}; }
static inline subject about_key(byte_view key) { return (subject){.kind = ABOUT_KEY, .name = key}; }
static inline subject about_path(const void *path, size_t size) {
    return (subject){.kind = ABOUT_FILE, .name = {.data = path, .size = size}};
}
subject about_file(const char *path);

/* Each prints one error and returns the exit code that belongs to it. */
int report_store(int code, const cairn_error *error, subject about);
int report_file(int negative_errno, subject about, const char *doing);
int report_rejected(subject about, const char *why);
int report_no_memory(void);
int report_interrupted(void);
int report_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int report_failure(int code, int exit_code, subject about, const char *message);

/* Not with -q; only with -v. */
void report_warning(subject about, const char *message);
void report_note(subject about, const char *message);

/* For cairn_options.log. */
void output_log(void *ctx, int level, const char *message);

/* ---- Standard output ---- */

bool output_data(const void *data, size_t size);
/* The key as -z wants it, NUL behind it; else as text, `end` behind it. */
bool output_key(byte_view key, char end);
/* A key that is done, with -v or --json, flushed. */
bool output_done_key(byte_view key, uint64_t value_size);
bool output_flush(void);

/* Reports why standard output failed. */
int report_output(void);

/* Flushes and closes standard output. The exit code for the process. */
int output_finish(int exit_code);

#endif

/* The command line: one table of every option, which says what each takes; a command says which ones it knows.
 *
 * Options stand anywhere, also before the command; "--" ends them; a value follows as --name=value or --name value (-o
 * value, -ovalue); letters without a value may be bundled. A value that may be left out follows as --name=value only.
 * The last of a repeated option counts. "-" alone is an operand. Names are never abbreviated.
 */
#ifndef CAIRN_CLI_ARGS_H
#define CAIRN_CLI_ARGS_H

#include "src/cli/keyenc.h"

typedef enum option_id {
    OPT_JSON,
    OPT_NUL,
    OPT_KEY_ENC,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_PROGRESS,
    OPT_HELP,
    OPT_VERSION,
    OPT_GLOBAL_COUNT, /* the ones above are known to every command */
    OPT_ORDERED = OPT_GLOBAL_COUNT,
    OPT_NO_ORDERED,
    OPT_IF_ABSENT,
    OPT_IF_VERSION,
    OPT_SYNC,
    OPT_TTL,
    OPT_COMPRESS,
    OPT_OUTPUT,
    OPT_RANGE,
    OPT_PREFIX,
    OPT_FROM,
    OPT_AFTER,
    OPT_TO,
    OPT_BEFORE,
    OPT_LIKE,
    OPT_REVERSE,
    OPT_LIMIT,
    OPT_KEYS,
    OPT_SIZES,
    OPT_VALUES,
    OPT_DICTIONARY,
    OPT_FULL,
    OPT_MIN_GARBAGE,
    OPT_RATE,
    OPT_DRY_RUN,
    OPT_COPY,
    OPT_COUNT
} option_id;

#define OPTION_BIT(id) ((uint64_t)1 << (id))

typedef enum progress_mode { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER } progress_mode;

/* The strings are argv's own. */
typedef struct arguments {
    uint64_t given;                /* OPTION_BIT of each option that is there */
    const char *values[OPT_COUNT]; /* of those that take one; NULL where it was left out */
    key_encoding key_enc;
    progress_mode progress;
    const char **operands; /* the command's name first */
    int operand_count;
} arguments;

/* Fills *args, whose operands are for args_release, whatever it returns. The first mistake is returned as a text
 * (static or within `mistake`), after everything behind it was still read, so that --json counts wherever it stands. */
#define MISTAKE_SIZE 256
const char *args_parse(int argc, char **argv, arguments *args, char mistake[MISTAKE_SIZE]);
void args_release(arguments *args);

static inline bool args_has(const arguments *args, option_id id) { return (args->given & OPTION_BIT(id)) != 0; }

/* The first option of `args` that is neither global nor in `known`; NULL when there is none. */
const char *args_unknown_to(const arguments *args, uint64_t known);

/* One line of help for each option in `ids`. */
void args_help(FILE *out, uint64_t ids);

/* ---- Values ---- */

/* Decimal digits only, nothing before or behind, no overflow. */
bool parse_u64(const char *text, size_t size, uint64_t *out);

/* The same, in the range of int, with a minus in front when it is below 0. */
bool parse_int(const char *text, int *out);

/* OFF:LEN; no LEN means to the end, which is UINT64_MAX. */
bool parse_range(const char *text, uint64_t *offset, uint64_t *length);

/* Seconds, with up to three decimals, as milliseconds. */
bool parse_seconds(const char *text, uint64_t *milliseconds);

/* A number of bytes; k, M or G behind it multiplies by 2^10, 2^20 or 2^30. */
bool parse_bytes(const char *text, uint64_t *bytes);

/* 0 to 1 in digits, with a point between digits or none: "1", "0.25". */
bool parse_share(const char *text, double *share);

#endif

#include "src/cli/args.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct option_spec {
    const char *name;
    char letter;       /* 0: none */
    const char *value; /* what it takes, as help names it; "[=...]": may be left out; NULL: nothing */
    const char *help;
} option_spec;

static const option_spec specs[OPT_COUNT] = {
    [OPT_JSON] = {"json", 0, NULL, "one JSON object a line, errors too"},
    [OPT_NUL] = {NULL, 'z', NULL, "print keys raw, each ended by a NUL byte"},
    [OPT_KEY_ENC] = {"key-enc", 0, "raw|esc|hex|base64", "how keys are given (default raw)"},
    [OPT_QUIET] = {"quiet", 'q', NULL, "nothing on standard error but errors"},
    [OPT_VERBOSE] = {"verbose", 'v', NULL, "say more; the tree commands print each key that is done"},
    [OPT_PROGRESS] = {"progress", 0, "auto|always|never", "progress on standard error (auto: on a terminal)"},
    [OPT_HELP] = {"help", 'h', NULL, "print help"},
    [OPT_VERSION] = {"version", 0, NULL, "print the version"},
    [OPT_ORDERED] = {"ordered", 0, NULL, "with an ordered index (the default, where it is built in)"},
    [OPT_NO_ORDERED] = {"no-ordered", 0, NULL, "without an ordered index"},
    [OPT_IF_ABSENT] = {"if-absent", 0, NULL, "only when the key is not there"},
    [OPT_IF_VERSION] = {"if-version", 0, "V", "only when the key is there with version V"},
    [OPT_SYNC] = {"sync", 0, NULL, "return only when what was done is safe from a power cut"},
    [OPT_TTL] = {"ttl", 0, "SECONDS", "the value expires after that time"},
    [OPT_COMPRESS] = {"compress", 0, "[=LEVEL]", "compress by zstd what that shrinks (no LEVEL: a fast one)"},
    [OPT_OUTPUT] = {"output", 'o', "FILE", "write to FILE, which appears whole or not at all"},
    [OPT_RANGE] = {"range", 0, "OFF:LEN", "only LEN bytes from OFF on (no LEN: to the end)"},
    [OPT_PREFIX] = {"prefix", 0, "P", "only keys that begin with P; put-tree and get-tree add and strip it"},
    [OPT_FROM] = {"from", 0, "K", "keys >= K"},
    [OPT_AFTER] = {"after", 0, "K", "keys > K"},
    [OPT_TO] = {"to", 0, "K", "keys <= K"},
    [OPT_BEFORE] = {"before", 0, "K", "keys < K"},
    [OPT_LIKE] = {"like", 0, "PATTERN", "keys that match: % any run of bytes, _ one byte, \\ the next itself"},
    [OPT_REVERSE] = {"reverse", 0, NULL, "in descending order"},
    [OPT_LIMIT] = {"limit", 0, "N", "at most N keys (0: all)"},
    [OPT_KEYS] = {"keys", 0, NULL, "print keys (the default)"},
    [OPT_SIZES] = {"sizes", 0, NULL, "print keys and sizes of the values"},
    [OPT_VALUES] = {"values", 0, NULL, "print keys, lengths and the values"},
    [OPT_DICTIONARY] = {"dictionary", 0, "BYTES", "the most that the dictionary takes (default 112640)"},
    [OPT_FULL] = {"full", 0, NULL, "all garbage, however little of it a segment has"},
    [OPT_MIN_GARBAGE] = {"min-garbage", 0, "R",
                         "only segments with at least that share of garbage (0 to 1; default 0.2)"},
    [OPT_RATE] = {"rate", 0, "BYTES/S", "read at most so much a second; k, M, G are powers of 1024"},
    [OPT_DRY_RUN] = {"dry-run", 0, NULL, "only say what would be done"},
    [OPT_COPY] = {"copy", 0, NULL, "share no blocks with the store, also where that could be"},
};

typedef struct parser {
    arguments *args;
    char **argv;
    int argc, next;
    char *mistake; /* empty: none yet */
} parser;

static __attribute__((format(printf, 2, 3))) void complain(parser *p, const char *format, ...) {
    if (p->mistake[0] != '\0') return;
    va_list list;
    va_start(list, format);
    (void)vsnprintf(p->mistake, MISTAKE_SIZE, format, list);
    va_end(list);
}

/* ---- Single options ---- */

static void take_progress(parser *p, const char *value) {
    static const char *const modes[] = {"auto", "always", "never"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(value, modes[i]) == 0) {
            p->args->progress = (progress_mode)i;
            return;
        }
    }
    complain(p, "--progress is auto, always or never, not '%s'", value);
}

static void take(parser *p, option_id id, const char *value) {
    p->args->given |= OPTION_BIT(id);
    p->args->values[id] = value;
    if (id == OPT_PROGRESS) take_progress(p, value);
    if (id == OPT_KEY_ENC && !key_encoding_named(value, &p->args->key_enc)) {
        complain(p, "--key-enc is raw, esc, hex or base64, not '%s'", value);
    }
}

static void parse_long(parser *p, const char *text) {
    size_t size = strcspn(text, "=");
    const char *value = text[size] == '=' ? text + size + 1 : NULL;
    for (int id = 0; id < OPT_COUNT; id++) {
        const char *name = specs[id].name;
        if (name == NULL || strlen(name) != size || memcmp(name, text, size) != 0) continue;
        bool lacks_value = specs[id].value != NULL && specs[id].value[0] != '[' && value == NULL;
        if (specs[id].value == NULL && value != NULL) {
            complain(p, "option --%s takes no value", name);
        } else if (lacks_value && p->next == p->argc) {
            complain(p, "option --%s needs a value: %s", name, specs[id].value);
        } else {
            if (lacks_value) value = p->argv[p->next++];
            take(p, (option_id)id, value);
        }
        return;
    }
    complain(p, "unknown option '--%.*s'", size > 100 ? 100 : (int)size, text);
}

static void parse_letters(parser *p, const char *letters) {
    for (const char *at = letters; *at != '\0'; at++) {
        int id = 0;
        while (id < OPT_COUNT && specs[id].letter != *at) {
            id++;
        }
        if (id == OPT_COUNT) {
            complain(p, "unknown option '-%.1s'", at);
        } else if (specs[id].value == NULL) {
            take(p, (option_id)id, NULL);
        } else {
            if (at[1] != '\0') {
                take(p, (option_id)id, at + 1);
            } else if (p->next < p->argc) {
                take(p, (option_id)id, p->argv[p->next++]);
            } else {
                complain(p, "option -%c needs a value: %s", *at, specs[id].value);
            }
            return;
        }
    }
}

const char *args_parse(int argc, char **argv, arguments *args, char mistake[MISTAKE_SIZE]) {
    *args = (arguments){.operands = calloc((size_t)argc + 1, sizeof *args->operands)};
    if (args->operands == NULL) return "out of memory";
    parser p = {.args = args, .argv = argv, .argc = argc, .next = 1, .mistake = mistake};
    mistake[0] = '\0';
    bool options_end = false;
    while (p.next < argc) {
        const char *text = argv[p.next++];
        if (options_end || text[0] != '-' || text[1] == '\0') {
            args->operands[args->operand_count++] = text;
        } else if (strcmp(text, "--") == 0) {
            options_end = true;
        } else if (text[1] == '-') {
            parse_long(&p, text + 2);
        } else {
            parse_letters(&p, text + 1);
        }
    }
    return mistake[0] == '\0' ? NULL : mistake;
}

void args_release(arguments *args) { free(args->operands); }

const char *args_unknown_to(const arguments *args, uint64_t known) {
    for (int id = OPT_GLOBAL_COUNT; id < OPT_COUNT; id++) {
        if (args_has(args, (option_id)id) && (known & OPTION_BIT(id)) == 0) return specs[id].name;
    }
    return NULL;
}

void args_help(FILE *out, uint64_t ids) {
    for (int id = 0; id < OPT_COUNT; id++) {
        if ((ids & OPTION_BIT(id)) == 0) continue;
        const option_spec *spec = &specs[id];
        char left[64];
        const char letter[] = {'-', spec->letter, '\0'};
        bool spaced = spec->value != NULL && spec->value[0] != '[';
        (void)snprintf(left, sizeof left, "%s%s%s%s%s%s", spec->letter != 0 ? letter : "",
                       spec->letter != 0 && spec->name != NULL ? ", " : "", spec->name != NULL ? "--" : "",
                       spec->name != NULL ? spec->name : "", spaced ? " " : "", spec->value != NULL ? spec->value : "");
        fprintf(out, "  %-32s %s\n", left, spec->help);
    }
}

/* ---- Values ---- */

bool parse_u64(const char *text, size_t size, uint64_t *out) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (__builtin_mul_overflow(number, 10, &number)) return false;
        if (__builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number)) return false;
    }
    if (size == 0) return false;
    *out = number;
    return true;
}

bool parse_int(const char *text, int *out) {
    bool negative = text[0] == '-';
    const char *digits = negative ? text + 1 : text;
    uint64_t magnitude = 0;
    if (!parse_u64(digits, strlen(digits), &magnitude) || magnitude > INT_MAX) return false;
    *out = negative ? -(int)magnitude : (int)magnitude;
    return true;
}

bool parse_range(const char *text, uint64_t *offset, uint64_t *length) {
    const char *colon = strchr(text, ':');
    if (colon == NULL || !parse_u64(text, (size_t)(colon - text), offset)) return false;
    if (colon[1] == '\0') {
        *length = UINT64_MAX;
        return true;
    }
    return parse_u64(colon + 1, strlen(colon + 1), length);
}

bool parse_seconds(const char *text, uint64_t *milliseconds) {
    size_t whole = strcspn(text, ".");
    uint64_t seconds = 0, fraction = 0;
    if (!parse_u64(text, whole, &seconds) || __builtin_mul_overflow(seconds, 1000, milliseconds)) return false;
    if (text[whole] == '\0') return true;
    const char *decimals = text + whole + 1;
    size_t places = strlen(decimals);
    if (places > 3 || !parse_u64(decimals, places, &fraction)) return false;
    for (size_t i = places; i < 3; i++) {
        fraction *= 10;
    }
    return !__builtin_add_overflow(*milliseconds, fraction, milliseconds);
}

bool parse_bytes(const char *text, uint64_t *bytes) {
    size_t digits = strspn(text, "0123456789");
    const char *suffix = text + digits, *units = "kMG";
    uint64_t number = 0, unit = 1;
    if (!parse_u64(text, digits, &number)) return false;
    if (suffix[0] != '\0') {
        const char *at = strchr(units, suffix[0]);
        if (at == NULL || suffix[1] != '\0') return false;
        unit = (uint64_t)1 << (10 * (at - units + 1));
    }
    return !__builtin_mul_overflow(number, unit, bytes);
}

bool parse_share(const char *text, double *share) {
    size_t whole = strspn(text, "0123456789"), end = whole;
    if (text[whole] == '.') {
        size_t decimals = strspn(text + whole + 1, "0123456789");
        if (decimals == 0) return false;
        end += 1 + decimals;
    }
    if (whole == 0 || text[end] != '\0') return false;
    *share = strtod(text, NULL);
    return *share <= 1;
}

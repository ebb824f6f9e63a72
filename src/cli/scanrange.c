#include "src/cli/scanrange.h"

#include "src/cli/output.h"
#include "src/cli/session.h"

#include <stdlib.h>
#include <string.h>

static int decode_parts(const arguments *args, byte_string parts[RANGE_PARTS]) {
    static const option_id ids[RANGE_PARTS] = {OPT_FROM, OPT_AFTER, OPT_TO, OPT_BEFORE, OPT_PREFIX, OPT_LIKE};
    for (int i = 0; i < RANGE_PARTS; i++) {
        int exit_code = session_bound(args, ids[i], &parts[i]);
        if (exit_code != EXIT_OK) return exit_code;
    }
    return EXIT_OK;
}

/* As the store orders keys. */
static int compare(const byte_string *a, const byte_string *b) {
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* The library takes one bound at each end. Where the inclusive and the exclusive one are both given both hold, so it is
 * the one that leaves fewer keys. */
static void set_lower(scan_range *range) {
    const byte_string *from = &range->parts[RANGE_FROM], *after = &range->parts[RANGE_AFTER];
    bool exclusive = after->data != NULL && (from->data == NULL || compare(after, from) >= 0);
    const byte_string *bound = exclusive ? after : from;
    range->options.lower = bound->data;
    range->options.lower_size = bound->size;
    range->options.lower_exclusive = exclusive;
}

static void set_upper(scan_range *range) {
    const byte_string *to = &range->parts[RANGE_TO], *before = &range->parts[RANGE_BEFORE];
    bool exclusive = before->data != NULL && (to->data == NULL || compare(before, to) <= 0);
    const byte_string *bound = exclusive ? before : to;
    range->options.upper = bound->data;
    range->options.upper_size = bound->size;
    range->options.upper_exclusive = exclusive;
}

int scan_range_take(const arguments *args, scan_range *range) {
    *range = (scan_range){.options = {.struct_size = sizeof range->options, .reverse = args_has(args, OPT_REVERSE)}};
    const char *limit = args->values[OPT_LIMIT];
    if (limit != NULL && !parse_u64(limit, strlen(limit), &range->options.limit)) {
        return report_usage("--limit takes a number, not '%s'", limit);
    }
    int exit_code = decode_parts(args, range->parts);
    if (exit_code != EXIT_OK) return exit_code;
    set_lower(range);
    set_upper(range);
    range->options.prefix = range->parts[RANGE_PREFIX].data;
    range->options.prefix_size = range->parts[RANGE_PREFIX].size;
    range->options.like = range->parts[RANGE_LIKE].data;
    range->options.like_size = range->parts[RANGE_LIKE].size;
    return EXIT_OK;
}

void scan_range_release(scan_range *range) {
    for (int i = 0; i < RANGE_PARTS; i++) {
        free(range->parts[i].data);
    }
}

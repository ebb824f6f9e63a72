/* scan: lists a store.
 *
 * Lines: KEY; with --sizes KEY<tab>SIZE; with --values KEY<tab>LENGTH, newline, the bytes, newline. With -z the raw key
 * and a NUL byte stand for the key's text and what ends it (newline or tab). With --json one object a key, which with
 * --values holds the value as value_b64.
 */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/session.h"
#include "src/cli/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BOUND_LOWER, BOUND_UPPER, BOUND_PREFIX, BOUND_LIKE, BOUND_COUNT };

/* ---- What is asked for ---- */

static int check_options(const arguments *args, uint64_t *limit) {
    if (args_has(args, OPT_FROM) && args_has(args, OPT_AFTER)) {
        return report_usage("--from and --after exclude each other");
    }
    if (args_has(args, OPT_TO) && args_has(args, OPT_BEFORE)) {
        return report_usage("--to and --before exclude each other");
    }
    if (args_has(args, OPT_KEYS) + args_has(args, OPT_SIZES) + args_has(args, OPT_VALUES) > 1) {
        return report_usage("--keys, --sizes and --values exclude each other");
    }
    const char *text = args->values[OPT_LIMIT];
    if (text != NULL && !parse_u64(text, strlen(text), limit)) {
        return report_usage("--limit takes a number, not '%s'", text);
    }
    return EXIT_OK;
}

static int scan_options_of(const arguments *args, byte_string bounds[BOUND_COUNT], cairn_scan_options *options) {
    const option_id ids[BOUND_COUNT] = {args_has(args, OPT_AFTER) ? OPT_AFTER : OPT_FROM,
                                        args_has(args, OPT_BEFORE) ? OPT_BEFORE : OPT_TO, OPT_PREFIX, OPT_LIKE};
    for (int i = 0; i < BOUND_COUNT; i++) {
        int exit_code = session_bound(args, ids[i], &bounds[i]);
        if (exit_code != EXIT_OK) return exit_code;
    }
    options->lower = bounds[BOUND_LOWER].data;
    options->lower_size = bounds[BOUND_LOWER].size;
    options->lower_exclusive = args_has(args, OPT_AFTER);
    options->upper = bounds[BOUND_UPPER].data;
    options->upper_size = bounds[BOUND_UPPER].size;
    options->upper_exclusive = args_has(args, OPT_BEFORE);
    options->prefix = bounds[BOUND_PREFIX].data;
    options->prefix_size = bounds[BOUND_PREFIX].size;
    options->like = bounds[BOUND_LIKE].data;
    options->like_size = bounds[BOUND_LIKE].size;
    options->reverse = args_has(args, OPT_REVERSE);
    options->keys_only = !args_has(args, OPT_VALUES);
    return EXIT_OK;
}

/* ---- Entries ---- */

/* Opens a value's line at its first piece, which is verified by then, and writes the value behind it. */
typedef struct value_line {
    byte_view key;
    uint64_t size;
    bool begun;
    json object;
    uint8_t carried[3]; /* fewer than 3 bytes wait for the rest of their group of base64 */
    size_t carried_count;
} value_line;

static void begin_value(value_line *line) {
    if (line->begun) return;
    line->begun = true;
    if (output_modes()->json) {
        json_open(&line->object, stdout);
        json_key(&line->object, line->key);
        json_number(&line->object, "size", line->size);
        json_string_begin(&line->object, "value_b64");
    } else {
        (void)output_key(line->key, '\t');
        fprintf(stdout, "%" PRIu64 "\n", line->size);
    }
}

static void show_base64(value_line *line, const uint8_t *data, size_t size) {
    while (line->carried_count > 0 && line->carried_count < 3 && size > 0) {
        line->carried[line->carried_count++] = *data++;
        size--;
    }
    if (line->carried_count == 3) {
        base64_show(stdout, line->carried, 3);
        line->carried_count = 0;
    }
    size_t rest = size % 3;
    base64_show(stdout, data, size - rest);
    if (rest > 0) memcpy(line->carried, data + size - rest, rest);
    line->carried_count += rest;
}

static int write_value(void *ctx, const void *data, size_t size) {
    value_line *line = ctx;
    begin_value(line);
    if (!output_modes()->json) return output_data(data, size) ? 0 : -EIO;
    show_base64(line, data, size);
    return output_flush() ? 0 : -EIO;
}

static bool end_value(value_line *line) {
    begin_value(line);
    if (output_modes()->json) {
        base64_show(stdout, line->carried, line->carried_count);
        json_string_end(&line->object);
        json_close(&line->object);
    } else {
        fputc('\n', stdout);
    }
    return output_flush();
}

/* A value that is damaged before its first byte was written is reported and left out; later it ends the listing. A key
 * that expired since the listing began is left out. */
static int print_value(transfer *t, byte_view key, bool *go_on) {
    cairn_reader *reader = NULL;
    *go_on = false;
    t->code = cairn_reader_open(t->store, key.data, key.size, &reader, &t->store_error);
    if (t->code == CAIRN_NOT_FOUND) {
        *go_on = true;
        return EXIT_OK;
    }
    if (t->code != CAIRN_OK) {
        *go_on = t->code == CAIRN_CORRUPT;
        return report_store(t->code, &t->store_error, about_key(key));
    }
    value_line line = {.key = key, .size = cairn_reader_size(reader)};
    transfer_end end = transfer_get(t, reader, 0, line.size, write_value, &line);
    cairn_reader_close(reader);
    *go_on = end == TRANSFER_DONE || !line.begun;
    switch (end) {
    case TRANSFER_DONE:
        *go_on = end_value(&line);
        return *go_on ? EXIT_OK : report_output();
    case TRANSFER_STORE_FAILED:
        *go_on = t->code == CAIRN_CORRUPT && !line.begun;
        return report_store(t->code, &t->store_error, about_key(key));
    case TRANSFER_FILE_FAILED:
        return report_output();
    case TRANSFER_INTERRUPTED:
    default:
        return report_interrupted();
    }
}

static bool print_key(const arguments *args, byte_view key, uint64_t value_size) {
    if (output_modes()->json) {
        json object;
        json_open(&object, stdout);
        json_key(&object, key);
        json_number(&object, "size", value_size);
        json_close(&object);
    } else if (args_has(args, OPT_SIZES)) {
        (void)output_key(key, '\t');
        fprintf(stdout, "%" PRIu64 "\n", value_size);
    } else {
        (void)output_key(key, '\n');
    }
    return !ferror(stdout);
}

static int list(const arguments *args, cairn_scan *scan, transfer *t) {
    int exit_code = EXIT_OK;
    cairn_error error = {0};
    for (;;) {
        if (interrupted()) return report_interrupted();
        int code = cairn_scan_next(scan, &error);
        if (code == CAIRN_DONE) break;
        if (code != CAIRN_OK) return report_store(code, &error, about_nothing());
        byte_view key = {0};
        key.data = cairn_scan_key(scan, &key.size);
        bool go_on = true;
        if (args_has(args, OPT_VALUES)) {
            exit_code = exit_code_worse(exit_code, print_value(t, key, &go_on));
            if (!go_on) return exit_code;
        } else if (!print_key(args, key, cairn_scan_value_size(scan))) {
            break;
        }
    }
    return output_flush() ? exit_code : report_output();
}

static int scan_store(const arguments *args, cairn *store, const cairn_scan_options *options) {
    cairn_scan *scan = NULL;
    cairn_error error = {0};
    transfer t;
    if (!transfer_begin(&t, store, NULL)) return report_no_memory();
    int exit_code = EXIT_OK;
    int code = cairn_scan_open(store, options, &scan, &error);
    if (code != CAIRN_OK) {
        exit_code = report_store(code, &error, about_nothing());
    } else {
        exit_code = list(args, scan, &t);
        cairn_scan_close(scan);
    }
    transfer_finish(&t);
    return exit_code;
}

int command_scan(const arguments *args) {
    cairn_scan_options options = {.struct_size = sizeof options};
    byte_string bounds[BOUND_COUNT] = {{0}};
    cairn *store = NULL;
    int exit_code = check_options(args, &options.limit);
    if (exit_code == EXIT_OK) exit_code = scan_options_of(args, bounds, &options);
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_READ, &store);
    if (exit_code == EXIT_OK) exit_code = session_close(store, scan_store(args, store, &options));
    for (int i = 0; i < BOUND_COUNT; i++) {
        free(bounds[i].data);
    }
    return exit_code;
}

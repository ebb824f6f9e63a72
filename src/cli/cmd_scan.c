/* scan: lists a store.
 *
 * Lines: KEY; with --sizes KEY<tab>SIZE; with --values KEY<tab>LENGTH, newline, the bytes, newline. With -z the raw key
 * and a NUL byte stand for the key's text and what ends it (newline or tab). With --json one object a key, which with
 * --values holds the value as value_b64.
 */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/scanrange.h"
#include "src/cli/session.h"
#include "src/cli/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

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

/* A value of this size and less is taken whole from the scan. */
#define WHOLE_VALUE_BYTES (4 * TRANSFER_PIECE)

/* Writes the value of the scan's entry into the line, as it was when the scan was opened. */
static transfer_end copy_whole(transfer *t, cairn_scan *scan, value_line *line) {
    const void *value = NULL;
    size_t size = 0;
    t->code = cairn_scan_value(scan, &value, &size, &t->store_error);
    if (t->code != CAIRN_OK) return TRANSFER_STORE_FAILED;
    line->size = size;
    return write_value(line, value, size) == 0 ? TRANSFER_DONE : TRANSFER_FILE_FAILED;
}

/* The same for one that memory may not hold. A scan does not give it in pieces; a reader does, but one of the key as it
 * is by now. That is the same value, because no handle can write while this one reads; only its time to live may have
 * ended since, and then it is left out. */
static transfer_end copy_pieces(transfer *t, value_line *line) {
    cairn_reader *reader = NULL;
    t->code = cairn_reader_open(t->store, line->key.data, line->key.size, &reader, &t->store_error);
    if (t->code != CAIRN_OK) return TRANSFER_STORE_FAILED;
    line->size = cairn_reader_size(reader);
    transfer_end end = transfer_get(t, reader, 0, line->size, write_value, line);
    cairn_reader_close(reader);
    return end;
}

/* A value that is damaged before its first byte was written is reported and left out; later it ends the listing. */
static int print_value(transfer *t, cairn_scan *scan, byte_view key, bool *go_on) {
    value_line line = {.key = key};
    bool whole = cairn_scan_value_size(scan) <= WHOLE_VALUE_BYTES;
    transfer_end end = whole ? copy_whole(t, scan, &line) : copy_pieces(t, &line);
    *go_on = false;
    switch (end) {
    case TRANSFER_DONE:
        *go_on = end_value(&line);
        return *go_on ? EXIT_OK : report_output();
    case TRANSFER_STORE_FAILED:
        *go_on = !line.begun && (t->code == CAIRN_CORRUPT || t->code == CAIRN_NOT_FOUND);
        return *go_on && t->code == CAIRN_NOT_FOUND ? EXIT_OK : report_store(t->code, &t->store_error, about_key(key));
    case TRANSFER_FILE_FAILED:
        return report_output();
    case TRANSFER_INTERRUPTED:
    default:
        return report_interrupted();
    }
}

static bool wants_size(const arguments *args) { return output_modes()->json || args_has(args, OPT_SIZES); }

static bool print_key(const arguments *args, cairn_scan *scan, byte_view key) {
    if (!wants_size(args)) return output_key(key, '\n');
    uint64_t size = cairn_scan_value_size(scan);
    if (output_modes()->json) {
        json object;
        json_open(&object, stdout);
        json_key(&object, key);
        json_number(&object, "size", size);
        json_close(&object);
    } else {
        (void)output_key(key, '\t');
        fprintf(stdout, "%" PRIu64 "\n", size);
    }
    return !ferror(stdout);
}

/* A damaged record is reported, and what is behind it listed. */
static int list(const arguments *args, cairn_scan *scan, transfer *t) {
    int exit_code = EXIT_OK;
    cairn_error error = {0};
    for (;;) {
        if (interrupted()) return report_interrupted();
        int code = cairn_scan_next(scan, &error);
        if (code == CAIRN_DONE) break;
        if (code != CAIRN_OK) exit_code = exit_code_worse(exit_code, report_store(code, &error, about_nothing()));
        if (code == CAIRN_CORRUPT) continue;
        if (code != CAIRN_OK) return exit_code;
        byte_view key = {0};
        key.data = cairn_scan_key(scan, &key.size);
        bool go_on = true;
        if (args_has(args, OPT_VALUES)) {
            exit_code = exit_code_worse(exit_code, print_value(t, scan, key, &go_on));
            if (!go_on) return exit_code;
        } else if (!print_key(args, scan, key)) {
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
    if (args_has(args, OPT_KEYS) + args_has(args, OPT_SIZES) + args_has(args, OPT_VALUES) > 1) {
        return report_usage("--keys, --sizes and --values exclude each other");
    }
    scan_range range;
    cairn *store = NULL;
    int exit_code = scan_range_take(args, &range);
    range.options.keys_only = !args_has(args, OPT_VALUES) && !wants_size(args);
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_READ, &store);
    if (exit_code == EXIT_OK) exit_code = session_close(store, scan_store(args, store, &range.options));
    scan_range_release(&range);
    return exit_code;
}

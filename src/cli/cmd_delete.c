/* delete: single keys, or all that begin with a prefix. */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- Single keys ---- */

/* All keys are decoded before any is deleted: a mistake in the last one deletes nothing. */
static int decode_keys(const arguments *args, byte_string *keys, int count) {
    int exit_code = EXIT_OK;
    for (int i = 0; i < count; i++) {
        exit_code = exit_code_worse(exit_code, session_key(args, args->operands[2 + i], &keys[i]));
    }
    return exit_code;
}

static int delete_keys(cairn *store, const byte_string *keys, int count) {
    int exit_code = EXIT_OK;
    for (int i = 0; i < count; i++) {
        if (interrupted()) return report_interrupted();
        cairn_error error = {0};
        int code = cairn_delete(store, keys[i].data, keys[i].size, NULL, &error);
        if (code == CAIRN_OK) continue;
        exit_code = report_store(code, &error, about_key(bytes_view(&keys[i])));
        if (code != CAIRN_NOT_FOUND) return exit_code;
    }
    return exit_code;
}

/* One sync for all keys, also when some were absent. */
static int delete_and_sync(const arguments *args, cairn *store, const byte_string *keys, int count) {
    int exit_code = delete_keys(store, keys, count);
    if (!args_has(args, OPT_SYNC)) return exit_code;
    cairn_error error = {0};
    int code = cairn_sync(store, &error);
    return code == CAIRN_OK ? exit_code : exit_code_worse(exit_code, report_store(code, &error, about_nothing()));
}

static int delete_named(const arguments *args) {
    int count = args->operand_count - 2;
    byte_string *keys = calloc((size_t)count, sizeof *keys);
    if (keys == NULL) return report_no_memory();
    cairn *store = NULL;
    int exit_code = decode_keys(args, keys, count);
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_WRITE, &store);
    if (exit_code == EXIT_OK) exit_code = session_close(store, delete_and_sync(args, store, keys, count));
    for (int i = 0; i < count; i++) {
        free(keys[i].data);
    }
    free(keys);
    return exit_code;
}

/* ---- All that begin with a prefix ---- */

static int delete_progress(const cairn_progress *at, void *ctx) {
    progress_set(ctx, at->done, PROGRESS_TOTAL_UNKNOWN);
    return interrupted() ? 1 : 0;
}

static bool print_deleted(uint64_t deleted) {
    if (output_modes()->json) {
        json object;
        json_open(&object, stdout);
        json_number(&object, "deleted", deleted);
        json_close(&object);
    } else if (!output_modes()->quiet) {
        fprintf(stderr, "cairn: %" PRIu64 " keys deleted\n", deleted);
    }
    return output_flush();
}

static int delete_range(const arguments *args, cairn *store, byte_view prefix) {
    progress shown;
    uint64_t deleted = 0;
    cairn_scan_options range = {.struct_size = sizeof range, .prefix = prefix.data, .prefix_size = prefix.size};
    cairn_delete_options options = {
        .struct_size = sizeof options, .sync = args_has(args, OPT_SYNC), .progress = delete_progress, .ctx = &shown};
    cairn_error error = {0};
    progress_begin_keys(&shown, args);
    int code = cairn_delete_range(store, &range, &options, &deleted, &error);
    if (code == CAIRN_OK) progress_set(&shown, deleted, PROGRESS_TOTAL_UNKNOWN);
    progress_end(&shown);
    /* After a failure too: what is gone stays gone. */
    bool printed = print_deleted(deleted);
    if (code == CAIRN_CANCELLED) return report_interrupted();
    if (code != CAIRN_OK) return report_store(code, &error, about_nothing());
    return printed ? EXIT_OK : report_output();
}

static int delete_prefix(const arguments *args) {
    byte_string prefix = {0};
    cairn *store = NULL;
    int exit_code = session_bound(args, OPT_PREFIX, &prefix);
    /* Rather the empty value of a script's variable than the wish to lose everything. */
    if (exit_code == EXIT_OK && prefix.size == 0) exit_code = report_usage("--prefix is empty, which is every key");
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_WRITE, &store);
    if (exit_code == EXIT_OK) exit_code = session_close(store, delete_range(args, store, bytes_view(&prefix)));
    free(prefix.data);
    return exit_code;
}

int command_delete(const arguments *args) {
    bool by_prefix = args_has(args, OPT_PREFIX), by_key = args->operand_count > 2;
    if (by_prefix && by_key) return report_usage("KEY and --prefix exclude each other");
    if (!by_prefix && !by_key) return report_usage("missing operands; delete takes KEY... or --prefix P");
    return by_prefix ? delete_prefix(args) : delete_named(args);
}

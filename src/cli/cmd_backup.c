/* backup: a second store that holds the same, and what it took to make it. */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"

static void print_json(const cairn_backup_result *r) {
    json object;
    json_open(&object, stdout);
    json_number(&object, "bytes", r->bytes);
    json_number(&object, "bytes_kept", r->bytes_kept);
    json_number(&object, "bytes_shared", r->bytes_shared);
    json_number(&object, "bytes_copied", r->bytes_copied);
    json_close(&object);
}

static bool print_result(const cairn_backup_result *r) {
    if (output_modes()->json) {
        print_json(r);
    } else {
        print_bytes("bytes", r->bytes);
        print_bytes("bytes_kept", r->bytes_kept);
        print_bytes("bytes_shared", r->bytes_shared);
        print_bytes("bytes_copied", r->bytes_copied);
    }
    return output_flush();
}

static int backup_progress(const cairn_progress *at, void *ctx) {
    progress_set(ctx, at->done, at->total);
    return interrupted() ? 1 : 0;
}

static int backup_store(const arguments *args, cairn *store) {
    progress shown = {0};
    const char *dest = args->operands[2];
    cairn_backup_result result = {.struct_size = sizeof result};
    cairn_backup_options options = {.struct_size = sizeof options,
                                    .copy = args_has(args, OPT_COPY),
                                    .progress = backup_progress,
                                    .ctx = &shown,
                                    .result = &result};
    cairn_error error = {0};
    progress_begin(&shown, args, PROGRESS_TOTAL_UNKNOWN);
    int code = cairn_backup(store, dest, &options, &error);
    progress_end(&shown);
    if (code == CAIRN_CANCELLED) return report_interrupted();
    if (code != CAIRN_OK) return report_store(code, &error, about_file(dest));
    return print_result(&result) ? EXIT_OK : report_output();
}

int command_backup(const arguments *args) {
    cairn *store = NULL;
    int exit_code = session_open(args, SESSION_UPKEEP, &store);
    return exit_code == EXIT_OK ? session_close(store, backup_store(args, store)) : exit_code;
}

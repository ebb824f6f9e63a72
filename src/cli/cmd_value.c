/* Commands on single values: init, put, get, stat. */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"
#include "src/cli/transfer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- init ---- */

int command_init(const arguments *args) {
    bool on = args_has(args, OPT_ORDERED), off = args_has(args, OPT_NO_ORDERED);
    if (on && off) return report_usage("--ordered and --no-ordered exclude each other");
    cairn_options options = session_options();
    options.create = true;
    options.create_new = true;
    options.ordered_index = on ? CAIRN_ORDERED_ON : off ? CAIRN_ORDERED_OFF : CAIRN_ORDERED_AUTO;
    cairn *store = NULL;
    cairn_error error = {0};
    interrupt_hold();
    int code = cairn_open(&store, session_path(args), &options, &error);
    interrupt_release();
    subject about = about_file(session_path(args));
    if (code == CAIRN_EXISTS) return report_failure(code, EXIT_FAILED, about, "already a store");
    if (code != CAIRN_OK) return report_store(code, &error, about);
    return session_close(store, EXIT_OK);
}

/* ---- put ---- */

static int report_transfer(const transfer *t, transfer_end end, subject value, subject file, const char *doing) {
    switch (end) {
    case TRANSFER_DONE:
        return EXIT_OK;
    case TRANSFER_FILE_FAILED:
        return report_file(t->error, file, doing);
    case TRANSFER_STORE_FAILED:
        return report_store(t->code, &t->store_error, value);
    case TRANSFER_INTERRUPTED:
    default:
        return report_interrupted();
    }
}

static int put_source(const arguments *args, cairn *store, byte_view key, const cairn_put_options *options,
                      source_file *source, const char *name) {
    progress shown;
    transfer t;
    if (!transfer_begin(&t, store, &shown)) return report_no_memory();
    progress_begin(&shown, args, source->size == SOURCE_SIZE_UNKNOWN ? PROGRESS_TOTAL_UNKNOWN : source->size);
    transfer_end end = transfer_put(&t, key, source, options);
    progress_end(&shown);
    int exit_code = report_transfer(&t, end, about_key(key), about_file(name), "cannot read");
    transfer_finish(&t);
    return exit_code;
}

int command_put(const arguments *args) {
    cairn_put_options options;
    byte_string key = {0};
    cairn *store = NULL;
    source_file source;
    int exit_code = session_put_options(args, &options);
    if (exit_code == EXIT_OK) exit_code = session_key(args, args->operands[2], &key);
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_WRITE, &store);
    if (exit_code != EXIT_OK) goto done;

    const char *name = args->operand_count > 3 ? args->operands[3] : "-";
    int rc = 0;
    if (strcmp(name, "-") == 0) {
        name = "standard input";
        source_stdin(&source);
    } else {
        rc = source_open(&source, name);
    }
    if (rc < 0) {
        exit_code = interrupted() ? report_interrupted() : report_file(rc, about_file(name), "cannot read");
    } else {
        exit_code = put_source(args, store, bytes_view(&key), &options, &source, name);
        source_close(&source);
    }
    exit_code = session_close(store, exit_code);
done:
    free(key.data);
    return exit_code;
}

/* ---- get ---- */

static int get_to_stdout(transfer *t, cairn_reader *reader, uint64_t offset, uint64_t length, byte_view key) {
    transfer_end end = transfer_get(t, reader, offset, length, transfer_to_stdout, NULL);
    progress_end(t->progress);
    if (end == TRANSFER_FILE_FAILED) return report_output();
    int exit_code = report_transfer(t, end, about_key(key), about_nothing(), "");
    return exit_code == EXIT_OK && !output_flush() ? report_output() : exit_code;
}

static int get_to_file(transfer *t, cairn_reader *reader, uint64_t offset, uint64_t length, byte_view key,
                       const char *name) {
    target_file target;
    int rc = target_create(&target, name);
    if (rc < 0) return interrupted() ? report_interrupted() : report_file(rc, about_file(name), "cannot write");
    transfer_end end = transfer_get(t, reader, offset, length, transfer_to_target, &target);
    progress_end(t->progress);
    if (end != TRANSFER_DONE) {
        target_discard(&target);
        return report_transfer(t, end, about_key(key), about_file(name), "cannot write");
    }
    rc = target_commit(&target);
    return rc < 0 ? report_file(rc, about_file(name), "cannot write") : EXIT_OK;
}

static int get_value(const arguments *args, cairn *store, byte_view key, uint64_t offset, uint64_t length) {
    const char *name = args->values[OPT_OUTPUT];
    bool to_stdout = name == NULL || strcmp(name, "-") == 0;
    cairn_reader *reader = NULL;
    cairn_error error = {0};
    int code = cairn_reader_open(store, key.data, key.size, &reader, &error);
    if (code != CAIRN_OK) return report_store(code, &error, about_key(key));
    uint64_t size = cairn_reader_size(reader);
    if (offset > size) offset = size;
    if (length > size - offset) length = size - offset;

    progress shown;
    transfer t;
    int exit_code = EXIT_OK;
    if (transfer_begin(&t, store, &shown)) {
        progress_begin(&shown, args, length);
        /* A line of progress amid the value helps nobody. */
        if (to_stdout && args->progress != PROGRESS_ALWAYS && isatty(STDOUT_FILENO) == 1) shown.shown = false;
        exit_code = to_stdout ? get_to_stdout(&t, reader, offset, length, key)
                              : get_to_file(&t, reader, offset, length, key, name);
        transfer_finish(&t);
    } else {
        exit_code = report_no_memory();
    }
    cairn_reader_close(reader);
    return exit_code;
}

int command_get(const arguments *args) {
    uint64_t offset = 0, length = UINT64_MAX;
    const char *range = args->values[OPT_RANGE];
    if (range != NULL && !parse_range(range, &offset, &length)) {
        return report_usage("--range takes OFF:LEN or OFF:, in bytes, not '%s'", range);
    }
    byte_string key = {0};
    cairn *store = NULL;
    int exit_code = session_key(args, args->operands[2], &key);
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_READ, &store);
    if (exit_code == EXIT_OK) {
        exit_code = session_close(store, get_value(args, store, bytes_view(&key), offset, length));
    }
    free(key.data);
    return exit_code;
}

/* ---- stat ---- */

/* Date and time of milliseconds since 1970, in UTC. A year takes up to 9 digits. */
enum { DATE_SIZE = 40 };
static const char *show_date(char text[DATE_SIZE], uint64_t ms) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL || strftime(text, DATE_SIZE, "%Y-%m-%d %H:%M:%S UTC", &utc) == 0) {
        (void)snprintf(text, DATE_SIZE, "beyond all dates");
    }
    return text;
}

static bool print_entry_text(const cairn_entry *entry) {
    fprintf(stdout, "value_size     %" PRIu64 "\nstored_size    %" PRIu64, entry->value_size, entry->stored_size);
    if (entry->value_size > 0) {
        fprintf(stdout, "  (%.1f %% of it)", 100 * (double)entry->stored_size / (double)entry->value_size);
    }
    fprintf(stdout, "\nversion        %" PRIu64 "\n", entry->version);
    if (entry->expires_at_ms == 0) {
        fputs("expires_at_ms  never\n", stdout);
    } else {
        char date[DATE_SIZE];
        fprintf(stdout, "expires_at_ms  %" PRIu64 "  (%s)\n", entry->expires_at_ms,
                show_date(date, entry->expires_at_ms));
    }
    return output_flush();
}

static bool print_entry(byte_view key, const cairn_entry *entry) {
    if (!output_modes()->json) return print_entry_text(entry);
    json object;
    json_open(&object, stdout);
    json_key(&object, key);
    json_number(&object, "value_size", entry->value_size);
    json_number(&object, "stored_size", entry->stored_size);
    json_id(&object, "version", entry->version);
    json_number(&object, "expires_at_ms", entry->expires_at_ms);
    json_close(&object);
    return output_flush();
}

static int stat_key(cairn *store, byte_view key) {
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error = {0};
    int code = cairn_stat(store, key.data, key.size, &entry, &error);
    if (code != CAIRN_OK) return report_store(code, &error, about_key(key));
    return print_entry(key, &entry) ? EXIT_OK : report_output();
}

int command_stat(const arguments *args) {
    byte_string key = {0};
    cairn *store = NULL;
    int exit_code = session_key(args, args->operands[2], &key);
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_READ, &store);
    if (exit_code == EXIT_OK) exit_code = session_close(store, stat_key(store, bytes_view(&key)));
    free(key.data);
    return exit_code;
}

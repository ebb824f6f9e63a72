#include "src/cli/session.h"

#include "src/cli/interrupt.h"

#include <stdlib.h>
#include <string.h>

cairn_options session_options(void) { return (cairn_options){.struct_size = sizeof(cairn_options), .log = output_log}; }

static int compression_options(const arguments *args, cairn_options *options) {
    if (!args_has(args, OPT_COMPRESS)) return EXIT_OK;
    const char *level = args->values[OPT_COMPRESS];
    options->compression = CAIRN_COMPRESSION_ZSTD;
    if (level == NULL || parse_int(level, &options->compression_level)) return EXIT_OK;
    return report_usage("--compress takes a level of zstd's, not '%s'", level);
}

int session_open(const arguments *args, session_access access, cairn **store) {
    cairn_options options = session_options();
    options.read_only = access == SESSION_READ;
    options.no_background = access == SESSION_UPKEEP;
    int exit_code = compression_options(args, &options);
    if (exit_code != EXIT_OK) return exit_code;
    cairn_error error = {0};
    interrupt_hold();
    int code = cairn_open(store, session_path(args), &options, &error);
    interrupt_release();
    if (code == CAIRN_OK) return EXIT_OK;
    /* The level is all that a user can get wrong in the options. */
    if (code == CAIRN_INVALID && options.compression_level != 0) return report_usage("--compress: %s", error.message);
    subject about = about_file(session_path(args));
    if (code != CAIRN_UNSUPPORTED) return report_store(code, &error, about);
    /* No option here asks for more than every store has: its format is newer than the library's. */
    const char *text = error.message[0] != '\0' ? error.message : "the store's format is newer than this program";
    return report_failure(code, EXIT_NO_STORE, about, text);
}

int session_close(cairn *store, int exit_code) {
    int code = cairn_close(store);
    if (code == CAIRN_OK) return exit_code;
    int failure = report_failure(code, exit_code_of(code), about_nothing(), "closing the store failed");
    return exit_code == EXIT_OK ? failure : exit_code;
}

int session_put_options(const arguments *args, cairn_put_options *options) {
    *options = (cairn_put_options){
        .struct_size = sizeof *options, .sync = args_has(args, OPT_SYNC), .if_absent = args_has(args, OPT_IF_ABSENT)};
    const char *version = args->values[OPT_IF_VERSION], *ttl = args->values[OPT_TTL];
    if (version != NULL && (!parse_u64(version, strlen(version), &options->if_version) || options->if_version == 0)) {
        return report_usage("--if-version takes a version, which is a number above 0, not '%s'", version);
    }
    if (version != NULL && options->if_absent) return report_usage("--if-absent and --if-version exclude each other");
    if (ttl != NULL && (!parse_seconds(ttl, &options->ttl_ms) || options->ttl_ms == 0)) {
        return report_usage("--ttl takes seconds above 0, with up to three decimals, not '%s'", ttl);
    }
    return EXIT_OK;
}

static int decode(const arguments *args, const char *text, byte_string *out) {
    switch (key_decode(args->key_enc, text, out)) {
    case KEY_DECODED:
        return EXIT_OK;
    case KEY_NO_MEMORY:
        return report_no_memory();
    case KEY_MALFORMED:
    default:
        return report_rejected(about_file(text), "not in the encoding that --key-enc names");
    }
}

int session_key(const arguments *args, const char *text, byte_string *key) {
    byte_string decoded = {0};
    int exit_code = decode(args, text, &decoded);
    if (exit_code == EXIT_OK && decoded.size == 0) {
        exit_code = report_rejected(about_nothing(), "a key is at least 1 byte");
    } else if (exit_code == EXIT_OK && decoded.size > CAIRN_KEY_SIZE_MAX) {
        char message[96];
        (void)snprintf(message, sizeof message, "a key of %zu bytes; %zu are the most", decoded.size,
                       CAIRN_KEY_SIZE_MAX);
        exit_code = report_failure(CAIRN_TOO_BIG, EXIT_REJECTED, about_nothing(), message);
    }
    if (exit_code == EXIT_OK) {
        *key = decoded;
    } else {
        free(decoded.data);
    }
    return exit_code;
}

int session_bound(const arguments *args, option_id option, byte_string *bound) {
    *bound = (byte_string){0};
    return args_has(args, option) ? decode(args, args->values[option], bound) : EXIT_OK;
}

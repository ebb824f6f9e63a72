#include "src/cli/output.h"

#include "src/cli/interrupt.h"
#include "src/cli/progress.h"
#include "src/cli/userfile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

static output_mode mode;
static int stdout_errno; /* why standard output failed; 0: it did not */
static bool stdout_reported;

/* From this size on data is not copied into the buffer of standard output. */
enum { DIRECT_BYTES = 1 << 16 };

void output_setup(output_mode wanted) {
    mode = wanted;
    (void)setvbuf(stderr, NULL, _IOLBF, 0);
}

const output_mode *output_modes(void) { return &mode; }

/* ---- Codes ---- */

static const struct {
    int code;
    const char *name;
    int exit_code;
} codes[] = {
    {CAIRN_OK, "CAIRN_OK", EXIT_OK},
    {CAIRN_NOT_FOUND, "CAIRN_NOT_FOUND", EXIT_ABSENT},
    {CAIRN_EXISTS, "CAIRN_EXISTS", EXIT_FAILED},
    {CAIRN_INVALID, "CAIRN_INVALID", EXIT_REJECTED},
    {CAIRN_TOO_BIG, "CAIRN_TOO_BIG", EXIT_REJECTED},
    {CAIRN_TOO_SMALL, "CAIRN_TOO_SMALL", EXIT_FAILED},
    {CAIRN_NO_STORE, "CAIRN_NO_STORE", EXIT_NO_STORE},
    {CAIRN_BUSY, "CAIRN_BUSY", EXIT_BUSY},
    {CAIRN_FULL, "CAIRN_FULL", EXIT_NO_SPACE},
    {CAIRN_IO, "CAIRN_IO", EXIT_FAILED},
    {CAIRN_CORRUPT, "CAIRN_CORRUPT", EXIT_CORRUPT},
    {CAIRN_NO_MEMORY, "CAIRN_NO_MEMORY", EXIT_FAILED},
    {CAIRN_READ_ONLY, "CAIRN_READ_ONLY", EXIT_FAILED},
    {CAIRN_UNSUPPORTED, "CAIRN_UNSUPPORTED", EXIT_FAILED},
    {CAIRN_CANCELLED, "CAIRN_CANCELLED", EXIT_INTERRUPTED},
    {CAIRN_FAILED, "CAIRN_FAILED", EXIT_FAILED},
};
enum { CODE_COUNT = sizeof codes / sizeof codes[0] };

static const char *code_name(int code) {
    for (int i = 0; i < CODE_COUNT; i++) {
        if (codes[i].code == code) return codes[i].name;
    }
    return "CAIRN_UNKNOWN";
}

int exit_code_of(int cairn_code) {
    for (int i = 0; i < CODE_COUNT; i++) {
        if (codes[i].code == cairn_code) return codes[i].exit_code;
    }
    return EXIT_FAILED;
}

int exit_code_worse(int one, int other) {
    static const int order[] = {EXIT_CORRUPT, EXIT_FAILED, EXIT_REJECTED, EXIT_ABSENT};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        if (one == order[i] || other == order[i]) return order[i];
    }
    return one != EXIT_OK ? one : other;
}

/* ---- Standard error ---- */

typedef struct message {
    const char *level; /* error, warning, note, info, debug */
    int code, exit_code;
    const cairn_error *error; /* NULL: none */
    subject about;
    const char *text;
} message;

static void print_json(const message *m) {
    json object;
    json_open(&object, stderr);
    if (m->code != CAIRN_OK) {
        json_text(&object, "error", code_name(m->code));
        json_integer(&object, "code", m->code);
        json_integer(&object, "exit", m->exit_code);
    } else {
        json_text(&object, "level", m->level);
    }
    json_text(&object, "message", m->text);
    if (m->error != NULL && m->error->sys_errno != 0) json_integer(&object, "errno", m->error->sys_errno);
    if (m->error != NULL && m->error->segment != 0) {
        json_id(&object, "segment", m->error->segment);
        json_number(&object, "offset", m->error->offset);
    }
    if (m->about.kind == ABOUT_KEY) json_key(&object, m->about.name);
    if (m->about.kind == ABOUT_FILE) {
        json_string_begin(&object, "file_b64");
        base64_show(stderr, m->about.name.data, m->about.name.size);
        json_string_end(&object);
    }
    json_close(&object);
}

/* Whether the text has the name in quotes already. */
static bool names(const char *text, byte_view name) {
    if (name.size == 0) return false;
    for (const char *at = text; (at = memmem(at, strlen(at), name.data, name.size)) != NULL; at++) {
        if (at > text && at[-1] == '\'' && at[name.size] == '\'') return true;
    }
    return false;
}

static void print_text(const message *m) {
    fputs("cairn: ", stderr);
    if (m->code == CAIRN_OK && strcmp(m->level, "note") != 0) fprintf(stderr, "%s: ", m->level);
    if (m->about.kind != ABOUT_NOTHING && !names(m->text, m->about.name)) {
        key_show(stderr, m->about.name);
        fputs(": ", stderr);
    }
    text_show(stderr, m->text);
    fputc('\n', stderr);
}

static void print(const message *m) {
    flockfile(stderr);
    progress_erase();
    if (mode.json) {
        print_json(m);
    } else {
        print_text(m);
    }
    funlockfile(stderr);
}

subject about_file(const char *path) { return about_path(path, strlen(path)); }

int report_failure(int code, int exit_code, subject about, const char *text) {
    print(&(message){.level = "error", .code = code, .exit_code = exit_code, .about = about, .text = text});
    return exit_code;
}

int report_store(int code, const cairn_error *error, subject about) {
    message m = {.level = "error", .code = code, .exit_code = exit_code_of(code), .error = error, .about = about};
    bool told = error != NULL && error->message[0] != '\0' && error->code == code;
    m.text = told && code != CAIRN_NOT_FOUND ? error->message : cairn_strerror(code);
    print(&m);
    return m.exit_code;
}

static int report_system(int negative_errno, int code, subject about, const char *doing) {
    char text[256], system_text[128];
    const char *reason = strerror_r(-negative_errno, system_text, sizeof system_text);
    (void)snprintf(text, sizeof text, "%s: %s", doing, reason);
    cairn_error error = {.code = code, .sys_errno = -negative_errno};
    message m = {.level = "error", .code = code, .exit_code = exit_code_of(code), .error = &error, .about = about};
    m.text = text;
    print(&m);
    return m.exit_code;
}

int report_file(int negative_errno, subject about, const char *doing) {
    bool full = negative_errno == -ENOSPC || negative_errno == -EDQUOT;
    return report_system(negative_errno, full ? CAIRN_FULL : CAIRN_IO, about, doing);
}

int report_rejected(subject about, const char *why) { return report_failure(CAIRN_INVALID, EXIT_REJECTED, about, why); }

int report_no_memory(void) {
    return report_failure(CAIRN_NO_MEMORY, EXIT_FAILED, about_nothing(), cairn_strerror(CAIRN_NO_MEMORY));
}

int report_interrupted(void) {
    return report_failure(CAIRN_CANCELLED, EXIT_INTERRUPTED, about_nothing(), "interrupted");
}

int report_usage(const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return report_failure(CAIRN_INVALID, EXIT_USAGE, about_nothing(), text);
}

void report_warning(subject about, const char *text) {
    if (!mode.quiet) print(&(message){.level = "warning", .about = about, .text = text});
}

void report_note(subject about, const char *text) {
    if (mode.verbose && !mode.quiet) print(&(message){.level = "note", .about = about, .text = text});
}

void output_log(void *ctx, int level, const char *text) {
    static const char *const names[] = {"error", "error", "warning", "info", "debug"};
    (void)ctx;
    if (mode.quiet || (level > CAIRN_LOG_WARNING && !mode.verbose)) return;
    const char *name = level >= 0 && level <= CAIRN_LOG_DEBUG ? names[level] : "info";
    print(&(message){.level = name, .about = about_nothing(), .text = text});
}

/* ---- Standard output ---- */

static bool remember_failure(void) {
    if (stdout_errno == 0) stdout_errno = errno != 0 ? errno : EIO;
    return false;
}

/* Past the stream's buffer: after an interrupted write that got some bytes out, stdio would go on with the rest, and
 * wait for ever where nobody reads. */
static bool write_directly(const char *data, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t put = write(STDOUT_FILENO, data + done, size - done);
        if (put < 0 && errno != EINTR) return remember_failure();
        if (put > 0) done += (size_t)put;
        if (done < size && interrupted()) {
            errno = EINTR;
            return remember_failure();
        }
    }
    return true;
}

bool output_data(const void *data, size_t size) {
    errno = 0;
    if (size >= DIRECT_BYTES) return output_flush() && write_directly(data, size);
    return fwrite(data, 1, size, stdout) == size || remember_failure();
}

bool output_flush(void) {
    errno = 0;
    return (fflush(stdout) == 0 && !ferror(stdout)) || remember_failure();
}

bool output_key(byte_view key, char end) {
    errno = 0;
    if (mode.nul_keys) {
        fwrite(key.data, 1, key.size, stdout);
        fputc('\0', stdout);
    } else {
        key_show(stdout, key);
        fputc(end, stdout);
    }
    return !ferror(stdout) || remember_failure();
}

bool output_done_key(byte_view key, uint64_t value_size) {
    if (mode.json) {
        json object;
        json_open(&object, stdout);
        json_key(&object, key);
        json_number(&object, "size", value_size);
        json_close(&object);
    } else if (mode.verbose) {
        (void)output_key(key, '\n');
    } else {
        return true;
    }
    return output_flush();
}

int report_output(void) {
    stdout_reported = true;
    if (stdout_errno == EINTR && interrupted()) return report_interrupted();
    return report_system(-stdout_errno, CAIRN_IO, about_nothing(), "cannot write to standard output");
}

int output_finish(int exit_code) {
    /* What could not be written would be tried again, and might wait for a reader for ever. */
    if (stdout_errno != 0) __fpurge(stdout);
    int closed = userfile_close_output();
    if (closed < 0 && stdout_errno == 0) stdout_errno = -closed;
    if (stdout_errno == 0 || stdout_reported) return exit_code;
    int failure = report_output();
    return exit_code == EXIT_OK ? failure : exit_code;
}

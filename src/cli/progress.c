#include "src/cli/progress.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

enum { REDRAW_MS = 100, FIRST_DRAW_MS = 300 };

static bool line_drawn; /* under the lock of stderr */

static uint64_t now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *human_bytes(char text[HUMAN_SIZE], uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double scaled = (double)bytes;
    size_t unit = 0;
    while (scaled >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        scaled /= 1024;
        unit++;
    }
    (void)snprintf(text, HUMAN_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", scaled, units[unit]);
    return text;
}

void print_bytes(const char *name, uint64_t bytes) {
    char text[HUMAN_SIZE];
    fprintf(stdout, "%-20s %" PRIu64 "  (%s)\n", name, bytes, human_bytes(text, bytes));
}

bool progress_wanted(const arguments *args) {
    if (args->progress != PROGRESS_AUTO) return args->progress == PROGRESS_ALWAYS;
    return !args_has(args, OPT_QUIET) && isatty(STDERR_FILENO) == 1;
}

void progress_begin(progress *p, const arguments *args, uint64_t total) {
    *p = (progress){.shown = progress_wanted(args), .total = total, .start_ms = now_ms()};
    /* On a terminal short work ends without a line; one that was asked for comes at once. */
    p->drawn = args->progress == PROGRESS_ALWAYS;
    p->next_draw_ms = p->drawn ? p->start_ms : p->start_ms + FIRST_DRAW_MS;
}

void progress_begin_keys(progress *p, const arguments *args) {
    progress_begin(p, args, PROGRESS_TOTAL_UNKNOWN);
    p->unit = PROGRESS_KEYS;
}

#define AMOUNT_SIZE 32
static const char *amount(char text[AMOUNT_SIZE], const progress *p, uint64_t number) {
    if (p->unit == PROGRESS_BYTES) return human_bytes(text, number);
    (void)snprintf(text, AMOUNT_SIZE, "%" PRIu64 " keys", number);
    return text;
}

static void draw(progress *p, uint64_t now) {
    char done[AMOUNT_SIZE], total[AMOUNT_SIZE], rate_text[AMOUNT_SIZE];
    double seconds = (double)(now - p->start_ms) / 1000;
    double rate = seconds > 0 ? (double)p->done / seconds : 0;
    flockfile(stderr);
    fputc('\r', stderr);
    if (p->total == PROGRESS_TOTAL_UNKNOWN) {
        fputs(amount(done, p, p->done), stderr);
    } else {
        double percent = p->total == 0 ? 100 : 100 * (double)p->done / (double)p->total;
        fprintf(stderr, "%3.0f%%  %s of %s", percent > 100 ? 100 : percent, amount(done, p, p->done),
                amount(total, p, p->total));
    }
    fprintf(stderr, "  %s/s", amount(rate_text, p, rate < 1e18 ? (uint64_t)rate : 0));
    if (p->total != PROGRESS_TOTAL_UNKNOWN && p->done < p->total && rate >= 1) {
        double left = (double)(p->total - p->done) / rate;
        uint64_t whole = left < 3.6e7 ? (uint64_t)left : 36000000;
        fprintf(stderr, "  %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " left", whole / 3600, whole / 60 % 60, whole % 60);
    }
    fputs("\033[K", stderr);
    fflush(stderr);
    line_drawn = true;
    funlockfile(stderr);
    p->drawn = true;
    p->next_draw_ms = now + REDRAW_MS;
}

void progress_set(progress *p, uint64_t done, uint64_t total) {
    p->done = done;
    p->total = total;
    if (!p->shown) return;
    uint64_t now = now_ms();
    if (now >= p->next_draw_ms) draw(p, now);
}

void progress_add(progress *p, uint64_t more) { progress_set(p, p->done + more, p->total); }

void progress_end(progress *p) {
    if (!p->shown || !p->drawn) return;
    draw(p, now_ms());
    flockfile(stderr);
    fputc('\n', stderr);
    line_drawn = false;
    funlockfile(stderr);
    p->shown = false;
}

void progress_erase(void) {
    if (!line_drawn) return;
    fputs("\r\033[K", stderr);
    line_drawn = false;
}

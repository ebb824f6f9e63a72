#include "tests/support/watch.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CASE_SECONDS 60
#define CASES_A_LOOK 64 /* between two settings of the alarm */
#define ADDRESS_SPACE ((rlim_t)1 << 30)

static char text[512];
static uint64_t cases;

static void on_death(int number) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) _exit(2);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

void watch_begin(void) {
    (void)signal(SIGALRM, on_death);
    (void)signal(SIGABRT, on_death);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    (void)signal(SIGSEGV, on_death);
    (void)signal(SIGBUS, on_death);
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < ADDRESS_SPACE ? limit.rlim_max : ADDRESS_SPACE;
        (void)setrlimit(RLIMIT_AS, &limit);
    }
#endif
}

void watch_end(void) {
    static const int caught[] = {SIGALRM, SIGABRT, SIGSEGV, SIGBUS};
    (void)alarm(0);
    for (int i = 0; i < 4; i++)
        (void)signal(caught[i], SIG_DFL);
}

void watch_case(const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (cases++ % CASES_A_LOOK == 0) (void)alarm(CASE_SECONDS);
}

const char *watch_text(void) { return text; }

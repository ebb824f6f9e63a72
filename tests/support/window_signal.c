#include "tests/support/window_signal.h"

#include "src/base/check.h"
#include "src/os/os.h"
#include "tests/support/real_folder.h"

#include <signal.h>
#include <stdbool.h>

/* The handler is installed with the first window of the process. */
static void install(void) {
    char folder[REAL_PATH_SIZE];
    os_dir *dir;
    os_file *file;
    os_window *window;
    real_folder_make(folder);
    real_file_save(folder, "window", "bytes", 5);
    CHECK(os_posix()->dir_open(os_posix(), folder, 0, &dir) == 0);
    CHECK(os_file_open(dir, "window", OS_READ_ONLY, &file) == 0);
    CHECK(os_window_open(file, 5, OS_ONLY_WHAT_IS_NEAR, &window) == 0);
    os_window_close(window);
    os_file_close(file);
    os_dir_close(dir);
    real_folder_remove(folder);
}

void window_signal_restore(void) {
    static struct sigaction ours;
    static bool known;
    if (!known) {
        install();
        CHECK(sigaction(SIGBUS, NULL, &ours) == 0);
        known = true;
    }
    CHECK(sigaction(SIGBUS, &ours, NULL) == 0);
}

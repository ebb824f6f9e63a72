/* cmocka takes SIGBUS at the beginning of each test, and a system whose handler is not in place opens no windows. */
#ifndef CAIRN_TESTS_WINDOW_SIGNAL_H
#define CAIRN_TESTS_WINDOW_SIGNAL_H

/* Gives the signal back to the windows of os_posix(). To be called in a test. */
void window_signal_restore(void);

#endif

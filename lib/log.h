/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Logging of the daemons to stderr: one line a message, "LEVEL program: text".
 * Under systemd (JOURNAL_STREAM set) the level is the <N> prefix of sd-daemon(3)
 * instead. Libraries (policy/, lib/) do not log: they return errors.
 */
#ifndef HF_LIB_LOG_H
#define HF_LIB_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Names the program in each line and sets what is shown: level and more urgent. */
void log_init(const char *program, enum log_level level);

/* For a level that is not known before; else those below. */
void log_at(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

/* SPDX-License-Identifier: MIT */
#ifndef AFN_GLANCE_H
#define AFN_GLANCE_H

/*
 * Fields that another thread may glance at.  Only the reactor's thread changes them, always by
 * AFN__SHOW, and reads them as it likes; the others read them by AFN__GLANCE.  What they see is whole
 * and may be old: nothing is said about the order of two fields.  An ordinary processor does this at
 * the price of ordinary fields.
 */
#define AFN__SHOW(field, value) __atomic_store_n(&(field), value, __ATOMIC_RELAXED)
#define AFN__GLANCE(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

#endif

// Bringing the HAT up with a System, and down with it.
//
// Boot, in this order:
//
//   1  The reserves are filled. Until step 7 tables and mapping records come from there
//      (System::use_boot_reserve), because kernel memory cannot be had before the kernel is mapped.
//   2  The "boot loader" builds the first page tables by hand: the kernel's nucleus in the last
//   page of
//      the address space and, as boot loaders do, a few mappings below kernelbase.
//   3  htable_attach wraps these tables in htables of the kernel's hat.
//   4  The mappings below kernelbase go, and with them their tables.
//   5  Every top-level entry of the kernel's windows gets its table, which is kept for ever. A user
//      hat copies the kernel's top-level entries when it is made, and nobody would tell it of a new
//      one (invariant 35).
//   6  The segkmap window gets its level-0 tables; the kpm window is filled or prepared
//      (hat/kpm_mapping.h).
//   7  The reserves stop being the only source; the other CPUs start, on the kernel's hat.
//
// Kernel addresses, from kernelbase upwards: segkmap window, kernel heap window, kpm window,
// nucleus.
//
// Thread safety: the constructing and destroying thread is alone.
#ifndef HATCHECK_HAT_HAT_BOOT_H_
#define HATCHECK_HAT_HAT_BOOT_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Steps 1 to 7, for System's constructor: machine and page layer are there, the policies are made.
void hat_boot(System& sys);

// Takes the kernel's hat, its tables and both reserves apart, for System's destructor. Panics if a
// user hat is left or a CPU is not on the kernel's hat.
void hat_shutdown(System& sys);

// Boot: the kernel's tables of a level for [base, base + len), each kept for ever (added to
// precreated_tables in the order of their addresses).
void hat_precreate_tables(System& sys, uintptr_t base, uint64_t len, level_t level);

// Buckets of a hat's hash of tables.
uint32_t hat_hash_size(const System& sys);

// A hat without tables for as, not on any list: the part that user hats and the kernel's share.
void hat_init_empty(System& sys, hat_t* hat, as_t* as);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HAT_BOOT_H_

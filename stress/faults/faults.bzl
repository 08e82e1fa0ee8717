"""The planted faults: the workload that shows each, and what is reported.

A name is that of a patch in models/mutants, or `binary` has the fault."""

def _fault(workload, expect, args = [], tags = [], binary = None):
    return struct(workload = workload, expect = expect, args = args, tags = tags, binary = binary)

# Of a fault that lets two threads take one page table: whatever is next may break, a list may even
# become a ring that is walked for ever.
_BREAKS_WHATEVER_IS_NEXT = "violated .(data race|assertion|panic|crash|use after free|" + \
                           "double free|no progress|deadlock)"

# setattr_no_recheck (a hat_updateattr that does not try again when x86pte_update finds another
# entry) is left out: only the hardware can change the entry there, by setting REF or MOD within the
# few instructions between look and swap, and no workload shows that surely within seconds.
FAULTS = {
    # Without pauses nothing is found in as many seconds.
    "alloc_joins_list_unlocked": _fault(
        "turnover",
        "data race|invariant 26|crash",
        ["--focus=4", "--pause_rate=500"],
    ),
    "create_no_second_search": _fault(
        "churn",
        "link_ptp|invariant 1[67]",
        ["--hats=2", "--pause_rate=50"],
    ),
    "fault_hides_first_write": _fault(
        "segmap",
        "is not marked modified|data: byte",
        ["--slots=4"],
    ),
    "hment_leak": _fault("share", "invariant 39"),
    "inval_no_flush": _fault(
        "shootdown",
        "invariant (29|3[0-2])|oracle O|data",
    ),
    "kpm_unlock_forgets_write": _fault(
        "segmap",
        "data: byte",
        ["--slots=4", "--kpm"],
    ),
    "lock_count_kept": _fault("mix", "invariant 22"),
    "pagecreate_unlocks": _fault("segmap", "open to others", ["--slots=4"]),
    "pages_mapped_leak": _fault("mix", "invariant 23"),
    "pageunload_stops_early": _fault("share", "still has .* mappings|invariant (32|40)"),
    "prepare_no_promotion": _fault("share", "invariant [1-8]:"),
    "prepare_no_recheck": _fault(
        "mix",
        "hment_prepare|invariant [126]:",
        ["--hats=3", "--pause_rate=50", "--fail_rate=0.5"],
    ),
    "reap_takes_tables_in_use": _fault(
        "shootdown",
        "reap_mapped: va .* maps frame -1",
        binary = "//stress/published:hatstress_S24",
    ),
    "refmod_small_of_leader": _fault("mix", "bits: after collecting", ["--hats=4"]),
    "release_frees_busy": _fault(
        "churn",
        _BREAKS_WHATEVER_IS_NEXT,
        ["--hats=2", "--pause_rate=50"],
    ),
    "remove_keeps_share": _fault("share", "invariant 2:|still has .* mappings"),
    # With both orders.
    "scan_enters": _fault(
        "segmap",
        "lock order.: sm_mtx.[0-9]+. is entered with smq_mtx.*; elsewhere smq_mtx.* with sm_mtx",
        ["--slots=4", "--threads=6"],
    ),
    "steal_no_recheck": _fault(
        "churn",
        _BREAKS_WHATEVER_IS_NEXT,
        ["--hats=2", "--pause_rate=50", "--steal_rate=0.3", "--stuck_after=10s"],
    ),
    "steal_under_htable": _fault(
        "churn",
        "lock order.: mlist.[0-9]+. is entered with htable.*; elsewhere htable.* with mlist",
        ["--hats=2", "--steal_rate=0.3"],
    ),
    "switch_never_joins": _fault(
        "shootdown",
        # A CPU that misses every shootdown shows it by whatever was shot down first.
        "invariant (27|29|3[0-2])|oracle O|data",
    ),
    "unlink_no_flush": _fault(
        "churn",
        "invariant (7|29|3[0-3])|page table exposed|oracle O|data|malformed|no access",
        ["--hats=1"],
        binary = "//stress/published:hatstress_S01",
    ),
    "uncache_unlocked": _fault(
        "churn",
        _BREAKS_WHATEVER_IS_NEXT,
        ["--hats=2", "--focus=4", "--pause_rate=500", "--steal_rate=0.3", "--stuck_after=10s"],
    ),
    "unmap_keeps_valid_cnt": _fault("mix", "invariant 1[1-5]"),
    "unmap_no_sync": _fault(
        "mix",
        "invariant 32|data",
        ["--hats=4", "--pages=4096"],
    ),
    "update_no_flush": _fault(
        "shootdown",
        "invariant (29|3[0-2])|oracle O[24]|data",
    ),
}

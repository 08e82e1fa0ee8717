"""Planted faults in segmap: the file, the scenario that shows it, and what it reports."""

def _fault(file, scenario, expect, args = []):
    return struct(file = file, scenario = "segmap/" + scenario, expect = expect, args = args)

FAULTS = {
    "busy_is_absent": _fault(
        "smap_waiting_counted.cc",
        "a_free_slot_that_is_busy_for_a_moment",
        "violated .lost wake-up.",
    ),
    "hashin_no_search": _fault(
        "smap_hash.cc",
        "two_getmaps_of_one_piece",
        "violated .assertion.",
    ),
    "inval_no_unload": _fault(
        "segmap.cc",
        "last_release_with_inval_of_a_locked_page",
        "violated .assertion.",
    ),
    "kpm_no_recheck": _fault(
        "smap_freelist.cc",
        "kpm_pageunload_against_recycling",
        "violated .assertion.",
    ),
    "look_before_count": _fault(
        "smap_waiting_counted.cc",
        "one_slot_for_two_pieces",
        "violated .lost wake-up.",
    ),
    "no_signal": _fault(
        "smap_waiting_counted.cc",
        "one_slot_for_two_pieces",
        "violated .lost wake-up.",
    ),
    "pagecreate_unlocks": _fault(
        "segmap_fault.cc",
        "pagecreate_against_fault",
        "violated .(assertion|panic).",
    ),
    "recycle_no_unload": _fault(
        "smap_freelist.cc",
        "recycling_while_the_page_is_held",
        "violated .assertion.",
    ),
    "refcnt_early": _fault(
        "segmap.cc",
        "two_releases_of_one_slot",
        "violated .panic.",
    ),
    "softlock_unlocks": _fault(
        "segmap_fault.cc",
        "softlock_against_pageout",
        "violated .(assertion|panic).",
    ),
    "use_no_recheck": _fault(
        "segmap.cc",
        "reclaim_against_recycling_of_two",
        "violated .(assertion|panic|crash).",
    ),
    "wrong_queue_flag": _fault(
        "smap_freelist.cc",
        "getmap_against_last_release",
        "violated .(assertion|panic|crash).",
    ),
}

"""The product's figures beside their yardsticks: ``python -m bench`` prints one table, ``python -m bench NAME…`` some of it.

One module a figure, named by it; `FIGURES` lists them in the order of the table. A module's ``measure(bench)`` gives its rows. Yardsticks
run in the same minute on the same machine as what they are compared with, so that ratios hold on a busy machine where times do not.
"""

FIGURES = (
    "cold_start", "keys", "console_memory", "first_step", "line_to_screen", "seen_together", "changed_rows", "busy_log", "flooded_log", "kill",
    "planning", "idle_pane", "evacuation", "vlan_map",
)  # fmt: skip

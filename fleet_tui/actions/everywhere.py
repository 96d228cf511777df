"""What can be done on every screen, in lists, in logs and in texts."""

from __future__ import annotations

from fleet_tui.actions.row import Action, go, view

GLOBAL = (
    go("dashboard", "Dashboard", "1", "home"),
    go("instances", "Instances", "2", "instance"),
    go("hosts", "Hosts", "3", "host"),
    go("vlans", "VLANs", "4", "vlan", "map", reads="vlans.map"),
    go("operations", "Operations", "7", "ops"),
    go("events", "Events", "9", "event"),
    view("global.vms", "VMs", "", "every VM of the fleet", words=("vms", "vm")),
    view("global.patches", "Patches", "", "the ledger of hypervisor patches", words=("patches",)),
    view("global.offerings", "Offerings", "", "sizes that VMs come in", words=("offerings",)),
    view("global.certificates", "Certificates", "", "every certificate, the first to end at the top", words=("certificates", "expiry")),
    Action("global.cloud", "Cloud Setup", "global", (), "view", "cloud.show", tooltip="the cloud account, and the key that secrets are under",
           words=("cloud",)),
    view("global.cloud-images", "Cloud images", "", "systems that machines on own hosts start from", words=("images", "cloud-images")),
    Action("global.orphans", "Orphans", "global", (), "view", "orphans.list", tooltip="machines, data disks and snapshots that no instance has",
           words=("orphans",)),
    view("global.back", "Back", "escape", "back one thing"),
    view("global.out", "Back, or quit", "q", "back one thing; at the root it quits"),
    view("global.help", "Keys", "?", "keys of this screen, searchable and runnable", words=("help", "keys")),
    view("global.menu", "Actions", "x", "what can be done with the selection, and why not", words=("actions",)),
    view("global.command", "Command line", ":", "type a kind, a verb or a name"),
    view("global.palette", "Palette", "ctrl+p", "every action by name", words=("palette",)),
    view("global.refetch", "Fetch again", "ctrl+r", "ask the daemon again for what is shown", words=("refetch", "refresh")),
    view("global.previous", "Back in history", "[", "the view before this one", words=("back",)),
    view("global.next", "Forward in history", "]", "the view after this one", words=("forward",)),
    view("global.last", "Last view", "-", "swap with the view before", words=("last",)),
    view("global.theme", "Next theme", "", "dark, light, high contrast, terminal's own", words=("theme",)),
    view("global.quit", "Quit", "", "leave; what runs goes on", words=("quit", "q", "exit")),
    Action("global.read-only", "Make this session read-only", "global", (), "view", "session.make_read_only",
           tooltip="this console can change nothing any more; there is no way back", words=("read-only",)),
)  # fmt: skip

MOVE = (
    view("move.down", "Down", "j down", "a row or line down"),
    view("move.up", "Up", "k up", "a row or line up"),
    view("move.top", "Top", "g home", "the first"),
    view("move.bottom", "Bottom", "G end", "the last; in logs, follow again"),
    view("move.page-down", "Page down", "pagedown", "a page on"),
    view("move.page-up", "Page up", "pageup", "a page back"),
)

LIST = (
    view("list.open", "Open", "enter", "go in", words=("open",)),
    view("list.filter", "Filter", "/", "as typed; ! not, state:x, kind:y", words=("filter",)),
    view("list.mark", "Mark", "space", "mark this row for a bulk verb"),
    view("list.range", "Mark range", "v", "mark from the last mark to here", scope="range"),
    view("list.mark-all", "Mark all filtered", "*", "mark every row the filter shows"),
    view("list.sort-left", "Sort by column left", "<", "sort by the column to the left"),
    view("list.sort-right", "Sort by column right", ">", "sort by the column to the right"),
    view("list.reverse", "Reverse", "r", "reverse the order"),
    view("list.wide", "Wide", "w", "show every column"),
    view("list.problems", "Problems only", "z", "hide what is well", words=("problems",)),
    view("list.describe", "Describe", "d", "everything about it, in words", words=("describe",)),
    view("list.raw", "Raw", "y", "the record as JSON", words=("raw",)),
    view("list.copy", "Copy name", "c", "name to your clipboard (OSC 52)", words=("copy",)),
    view("list.copy-row", "Copy row", "C", "row to your clipboard (OSC 52)"),
)

LOG = (
    view("log.follow", "Follow", "s", "stay at the tail"),
    view("log.filter", "Filter", "/", "only lines that contain it; then n and N walk the matches"),
    view("log.time", "Times", "t", "show or hide times"),
    view("log.wrap", "Wrap", "w", "wrap long lines"),
    view("log.level", "Level", "L", "all, info, warnings, errors"),
    view("log.match-next", "Next match", "n", "next line that matches"),
    view("log.match-previous", "Previous match", "N", "previous line that matches"),
    view("log.mark", "Mark", "m", "draw a line here"),
    view("log.full", "Full screen", "f", "hide everything but the lines"),
    view("log.copy", "Copy", "c", "the lines on screen to your clipboard (OSC 52)"),
)

SINCE = tuple(
    Action(f"since.{key}", f"Since {said}", "since", (str(key),), "view", tooltip=f"lines since {said}")
    for key, said in enumerate(("the start", "1 minute ago", "5 minutes ago", "15 minutes ago", "30 minutes ago", "1 hour ago", "1 day ago"))
)

PAGES = (
    view("tabs.next", "Next tab", "right", "the tab to the right"),
    view("tabs.previous", "Previous tab", "left", "the tab to the left"),
    view("page.jump", "Open", "enter", "phase: its first line; operation: its steps"),
    view("page.describe", "Describe", "d", "everything about it, in words", words=("describe",)),
    view("page.raw", "Raw", "y", "the record as JSON", words=("raw",)),
    view("tabs.save", "Save", "ctrl+o", "save the settings"),
    view("tabs.file", "From a file", "ctrl+g", "in a text or a key: take it from a file of the machine this console runs on"),
    view("tabs.theirs", "Take theirs", "ctrl+t", "in a field that somebody else changed: take their value"),
)
TEXT = (
    view("text.search", "Search", "/", "find text"),
    view("text.match-next", "Next match", "n", "next match"),
    view("text.match-previous", "Previous match", "N", "previous match"),
    view("text.copy", "Copy all", "c", "everything to your clipboard (OSC 52)"),
)
BOARD = (view("board.zoom", "Zoom panel", "f", "this panel alone, and back"),)


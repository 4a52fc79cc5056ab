# For gdb: `info lineage` says of each CPU which of the program's threads is on it, and who has started that. Of a
# program under elfin-hosted, whose threads gdb knows, it says so of each thread.
import gdb

WORD = 8


def number(address, size=WORD):
    memory = gdb.selected_inferior().read_memory(address, size)
    return int.from_bytes(bytes(memory), "little")


class Lineage(gdb.Command):
    """Who has started the threads that run.

    A thread's parent is found by its proxy, which stays when the thread has ended (loader/src/thread.rs)."""

    def __init__(self):
        super().__init__("info lineage", gdb.COMMAND_STATUS)
        self.layout = None

    def learn(self):
        """Reads where the loader keeps what, while its symbols are there."""
        if self.layout is None:
            start = int(gdb.parse_and_eval("(unsigned long)&ELFIN_LINEAGE"))
            self.layout = [number(start + WORD * index) for index in range(9)]

    def invoke(self, argument, from_tty):
        self.learn()
        chosen = gdb.selected_thread()
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
            thread.switch()
            mark = "*" if thread.num == chosen.num else " "
            print(f"{mark} {thread.num}: {self.describe()}")
        chosen.switch()

    def describe(self):
        """Describes the thread of the program's that the selected CPU or thread is at."""
        pointer = int(gdb.parse_and_eval("(unsigned long)$fs_base"))
        try:
            dtv = number(pointer + WORD) if pointer else 0
            if not dtv:
                return "no thread of the program's"
            proxy = number(number(dtv + self.layout[0]) + self.layout[1]) + self.layout[2]
            tid = number(pointer + tid_offset(), 4)
            return ", ".join([f"thread {tid}"] + self.ancestors(proxy))
        except gdb.MemoryError:
            return "no thread of the program's"

    def ancestors(self, proxy):
        """As `ThreadProxy::ancestors`."""
        at_id, at_parent, at_through, at_ended, at_tid, at_starter = self.layout[3:]
        ancestors = []

        def add(tid, ended, started):
            if tid:
                how = "started by" if started else "descended from"
                ancestors.append(f"{how} {tid}{' (ended)' if ended else ''}")

        while parent := number(proxy + at_parent):
            started = number(proxy + at_through) == number(proxy + at_id)
            if not started:
                add(number(proxy + at_starter, 4), True, True)
            add(number(parent + at_tid, 4), number(parent + at_ended, 1) != 0, started)
            proxy = parent
        add(number(proxy + at_starter, 4), True, True)
        return ancestors


def tid_offset():
    """Where a thread's descriptor has its Linux id: libc says so to debuggers, as bits, count and distance."""
    start = int(gdb.parse_and_eval("(unsigned long)&_thread_db_pthread_tid"))
    return number(start + 8, 4)


lineage = Lineage()

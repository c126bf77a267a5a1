"""A contender of `evenkeel bench spool`: Python's SpooledTemporaryFile under a lock, filled from a stream and read at
random from threads. The same content, threads and reads as in main.rs, which says what is printed.

Arguments: SIZE_BYTES READERS READ_BYTES_TOTAL."""

import json
import sys
import tempfile
import threading
import time

MEMORY_BYTES_MAX = 5 << 20
READ_BYTES = 64 << 10
PERIOD = 65_521
MASK = (1 << 64) - 1


def content(offset):
    return offset % PERIOD % 251


def status(name):
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(name + ":"))
    return int(line.split()[1]) << 10


def fill(size, pattern):
    file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES_MAX)
    at = 0
    while at < size:
        begin = at % PERIOD
        step = pattern[begin : begin + min(READ_BYTES, size - at)]
        file.write(step)
        at += len(step)
    return file


class Readers:
    def __init__(self, size, readers, reads):
        self.size, self.reads = size, reads
        self.file, self.lock, self.wrong = None, threading.Lock(), None
        self.start = threading.Barrier(readers + 1)
        self.threads = [threading.Thread(target=self.read, args=(n,)) for n in range(readers)]
        for thread in self.threads:
            thread.start()

    def read(self, thread):
        random = 0x9E3779B97F4A7C15 ^ (thread + 1)
        self.start.wait()
        for _ in range(self.reads):
            random ^= (random << 13) & MASK
            random ^= random >> 7
            random ^= (random << 17) & MASK
            offset = random % (self.size - READ_BYTES + 1)
            with self.lock:
                self.file.seek(offset)
                got = self.file.read(READ_BYTES)
            # No byte is 255: looking for one touches them all.
            good = len(got) == READ_BYTES and got.find(b"\xff") < 0
            if not good or (got[0], got[-1]) != (content(offset), content(offset + READ_BYTES - 1)):
                self.wrong = offset
                return


def main():
    size, count, total = (int(argument) for argument in sys.argv[1:4])
    readers = Readers(size, count, total // READ_BYTES // count)
    pattern = bytes(content(at) for at in range(PERIOD)) * 3
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS")
    begun = time.perf_counter()
    readers.file = fill(size, pattern)
    filled = time.perf_counter() - begun
    begun = time.perf_counter()
    readers.start.wait()
    for thread in readers.threads:
        thread.join()
    read = time.perf_counter() - begun
    if readers.wrong is not None:
        sys.exit(f"the bytes at {readers.wrong} are not the content's")
    held = max(0, status("VmHWM") - before)
    print(json.dumps({"fill_s": filled, "reads_s": read, "held_bytes": held}))


main()

# Eleven megabytes go through a program, block by block; what is written is what was read.
# stdin: 250000 x the quick brown fox jumps over the lazy dog\n
import sys

count = 0
while block := sys.stdin.buffer.read1(100000):
    count += len(block)
    sys.stdout.buffer.write(block)
sys.stdout.buffer.flush()
print(count, sys.stdin.buffer.read(), file=sys.stderr)

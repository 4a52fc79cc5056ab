# Standard input, line by line.
# stdin: 5000 x a line of input\n
import sys

lines = list(sys.stdin)
print(len(lines), sum(map(len, lines)), lines[-1], end="")
print(repr(sys.stdin.read()))

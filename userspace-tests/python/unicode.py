# Standard output is UTF-8, as LANG says; arguments and the environment are decoded by it.
# args: größe 日本
# env: NAME=Zoë
import os
import sys

print("äöü ß € 日本語 😀", sys.argv[1:], os.environ["NAME"])
print(sys.stdout.encoding, sys.getfilesystemencoding())
print("über", file=sys.stderr)
sys.stdout.write("no newline at the end")

# Formats and numbers of the standard library: json, decimal, fractions, struct, re, datetime, random with a seed.
import base64
import csv
import datetime
import decimal
import fractions
import io
import json
import math
import pickle
import random
import re
import statistics
import struct
import textwrap
import xml.etree.ElementTree as tree

document = {"a": [1, 2.5, None, True], "ü": {"nested": "line\nbreak \U0001f600"}, "big": 2**70}
text = json.dumps(document, sort_keys=True)
print(text, json.loads(text) == document)
decimal.getcontext().prec = 50
print(decimal.Decimal(2).sqrt(), decimal.Decimal("1.10") + decimal.Decimal("2.205"), (decimal.Decimal(1) / 7).quantize(decimal.Decimal("1e-20")))
print(fractions.Fraction(355, 113) + fractions.Fraction(1, 3), math.factorial(30), math.comb(50, 25))
print(struct.pack("<Ihd", 1, -2, 3.5).hex(), struct.unpack(">H", b"\x01\x02"))
random.seed(12345)
print(random.random(), random.randint(1, 10**9), random.sample(range(100), 5), random.gauss(0, 1))
print(re.findall(r"(\w+)@(\w+)\.com", "ann@example.com, bob@test.com"), re.sub(r"\d+", lambda m: str(int(m[0]) * 2), "a1b22c333"))
moment = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
print(moment.isoformat(), (moment + datetime.timedelta(days=366)).strftime("%A %d %B %Y"), moment.timestamp())
print(datetime.date.fromisocalendar(2025, 1, 1), datetime.datetime.fromtimestamp(86400 * 365).isoformat())
print(statistics.mean([1, 2, 3, 4]), statistics.stdev([1, 2, 3, 4]))
print(pickle.loads(pickle.dumps(document)) == document, base64.b64encode(bytes(range(10))))
out = io.StringIO()
csv.writer(out).writerows([["a", 'quote"d'], [1, "x,y"]])
print(repr(out.getvalue()))
print(tree.fromstring("<r><i n='1'/><i n='2'>t</i></r>").findall("i")[1].text)
print(textwrap.fill("the quick brown fox jumps over the lazy dog", 20))
print(0.1 + 0.2, 1e100, float("inf"), 3.0e-310, round(2.675, 2), 7.0 // 2, divmod(-7, 3), 10**40 % 12345678901)

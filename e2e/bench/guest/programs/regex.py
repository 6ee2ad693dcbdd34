# Finds, splits and replaces in a text of a megabyte.
import re
import zlib

words = "alpha beta gamma delta epsilon zeta eta theta iota kappa 192.168.0.1 user@example.org 2024-05-17".split()
seed = 7
pieces = []
for _ in range(120000):
    seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
    pieces.append(words[(seed >> 16) % len(words)])
text = " ".join(pieces)
found = [
    len(re.findall(pattern, text))
    for pattern in (r"\d+\.\d+\.\d+\.\d+", r"\w+@\w+\.\w+", r"(\d{4})-(\d\d)-(\d\d)", r"\b[a-e]\w+a\b", r"(?:eta|iota)\s+k\w+")
]
swapped = re.sub(r"(\w+) (\w+)", r"\2 \1", text)
print(found, zlib.crc32(swapped.encode()), len(re.split(r"\s+gamma\s+", text)))

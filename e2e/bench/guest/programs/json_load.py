# Builds, writes and reads a document.
import json

document = {
    "items": [
        {"id": i, "name": f"item {i}", "price": i * 1.25, "tags": [f"t{i % k}" for k in range(1, 6)], "on": i % 3 == 0}
        for i in range(3000)
    ]
}
total = 0
for turn in range(12):
    text = json.dumps(document, sort_keys=True)
    document = json.loads(text)
    document["items"][turn]["name"] = text[turn * 100 : turn * 100 + 40]
    total += len(text) + sum(len(item["tags"]) for item in document["items"])
print(total)

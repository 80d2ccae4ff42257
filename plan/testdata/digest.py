# The digests of docs/change-sets.md once more, from its words alone. Each line of standard input is one object:
# {"changes": […]} is a change set, {"question": {…}} a question, {"blocked": {…}} what is blocked.
import hashlib
import json
import re
import sys


class Number(str):  # as it is written
    pass


def text(s):
    named = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    s = re.sub("[\ud800-\udfff]", "\ufffd", s)
    return '"' + re.sub('["\\\\\x00-\x1f\u2028\u2029]', lambda m: named.get(m[0], "\\u%04x" % ord(m[0])), s) + '"'


def canonical(v):
    if isinstance(v, Number):
        return str(v)
    if isinstance(v, str):
        return text(v)
    if isinstance(v, list):
        return "[" + ",".join(map(canonical, v)) + "]"
    if isinstance(v, dict):
        members = sorted(v.items(), key=lambda member: member[0].encode())
        return "{" + ",".join(text(k) + ":" + canonical(x) for k, x in members) + "}"
    return {None: "null", True: "true", False: "false"}[v]


def fields(*values):
    encoded = [str(v).encode() for v in values]
    return b"".join(b"%d:%s," % (len(v), v) for v in encoded)


def attribute(a, asked):
    volatile = asked and a.get("volatile", False)
    flags = "u" * a.get("unknown", False) + "s" * a.get("sensitive", False) + "v" * volatile
    before = canonical(a["before"]) if "before" in a else ""
    after = canonical(a["after"]) if "after" in a and not volatile else ""
    return fields(a["path"], flags, before, after)


def change(c, asked):
    output, bare = c["action"] == "output", c["action"] in ("output", "read")
    paths = [] if bare else c.get("replace_paths", [])
    attributes = [] if bare else c.get("attributes", [])
    names = ("address", "previous_address", "action", "import_id", "deposed")
    head = fields(*(c.get(name, "") for name in names), c.get("action_reason", "") if output else "", len(paths), *paths)
    return head + fields(len(attributes)) + b"".join(attribute(a, asked) for a in attributes)


def digest(changes, asked=False):
    def order(c):
        return c["address"].encode(), c.get("deposed", "").encode(), c["action"].encode(), change(c, asked)

    body = b"".join(change(c, asked) for c in sorted(changes, key=order))
    return hashlib.sha256(b"switchyard changes 1\n" + body).hexdigest()


def question(q):
    doubts = "\n".join(sorted(q["doubts"], key=str.encode))
    targets = sorted((t["environment"].encode(), t["root"].encode(), t) for t in q["targets"] if t["changes"])
    body = fields(doubts, q["commit"] if doubts else "")
    for _, _, t in targets:
        body += fields(t["environment"], t["root"], digest(t["changes"], asked=True))
    return hashlib.sha256(b"switchyard question 1\n" + body).hexdigest()


def blocked(q):
    body = b""
    for t in sorted(q["targets"], key=lambda t: (t["environment"].encode(), t["root"].encode())):
        addresses = sorted(t["addresses"], key=str.encode)
        body += fields(t["environment"], t["root"], len(addresses), *addresses)
    return hashlib.sha256(b"switchyard blocked 1\n" + body).hexdigest()


for line in sys.stdin:
    what = json.loads(line, parse_int=Number, parse_float=Number)
    if "changes" in what:
        print(digest(what["changes"]))
    elif "question" in what:
        print(question(what["question"]))
    else:
        print(blocked(what["blocked"]))

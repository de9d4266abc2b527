"""Writes a secret down in every encoding, by other means than the scanner's own: one line a form, its name and hex.

Standard input: "key" and a PEM, or "token" and the token. The numbers of a key are openssl's reading of it.
"""

import base64
import re
import subprocess
import sys

kind, _, given = sys.stdin.read().partition("\n")


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], input=given.encode(), capture_output=True, check=True).stdout


def texts(name, text):
    yield name, text.encode()
    yield f"{name}, UTF-16", text.encode("utf-16-le")
    yield f"{name}, UTF-16BE", text.encode("utf-16-be")


def forms(of, secret):
    yield f"{of}raw", secret
    for offset in range(3):
        for word, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            text = encode(b"\x55" * offset + secret + b"\x55" * 5).decode()
            yield from texts(f"{of}{word} at {offset}", text)
    for separator in ("", ":", " "):
        text = separator.join(f"{byte:02x}" for byte in secret)
        yield from texts(f'{of}hex with "{separator}"', text)
        yield from texts(f'{of}HEX with "{separator}"', text.upper())
    yield from texts(f"{of}numbers", ",".join(str(byte) for byte in secret))


def pem(name, text):
    # Each line alone: whoever keeps one keeps a part of the key.
    for line in text.strip().splitlines()[1:-1]:
        yield from texts(f"PEM line of {name}", line)


def key():
    names = {"privateExponent": "d", "prime1": "p", "prime2": "q", "exponent1": "dP", "exponent2": "dQ",
             "coefficient": "qInv", "priv": "scalar"}
    told = openssl("pkey", "-noout", "-text").decode()
    for name, body in re.findall(r"^(\w+):\n((?: +[0-9a-f:]+\n)+)", told, re.M):
        if name in names:
            number = bytes.fromhex(re.sub(r"[^0-9a-f]", "", body)).lstrip(b"\0")
            yield from forms(f"{names[name]}: ", number)
            yield from forms(f"{names[name]} little-endian: ", number[::-1])
    yield from pem("PKCS#8", openssl("pkcs8", "-topk8", "-nocrypt").decode())
    yield from pem("PKCS#1 or SEC 1", openssl("pkey", "-traditional").decode())


def token():
    yield from forms("", given.encode())
    yield from texts("text", given)


for name, planted in key() if kind == "key" else token():
    print(f"{kind}: {name}", planted.hex(), sep="\t")

"""Opens one sealed secret without robocred: KEY-FILE SEALED-FILE, or PASSPHRASE-FILE KDF-FILE SEALED-FILE."""
import re, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
*how, path = sys.argv[1:]
key, sealed = open(how[0], "rb").read(), open(path, "rb").read()
if len(how) == 2:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
    m, t, p, salt = re.fullmatch(r"robocred-kdf-1 argon2id m=(\d+) t=(\d+) p=(\d+) salt=(\w+)\n", open(how[1]).read()).groups()
    kdf = Argon2id(salt=bytes.fromhex(salt), length=32, iterations=int(t), lanes=int(p), memory_cost=int(m))
    key = kdf.derive(key.rstrip(b"\r\n"))
assert sealed[:9] == b"RCSEALED\x01", "not a sealed secret of format 1"
end = 19 + int.from_bytes(sealed[17:19], "big")
sys.stdout.buffer.write(AESGCM(key).decrypt(sealed[end:end + 12], sealed[end + 12:], sealed[:end]))

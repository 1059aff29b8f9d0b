"""A client of the xchg protocol that was written from PROTOCOL.md alone, to find out whether that says enough.

    outsider.py vectors PROTOCOL.md
    outsider.py upload HOST PORT KEY SECRET FILE
    outsider.py download HOST PORT KEY SECRET FOLDER [HAVE]

An upload sends one file. A download takes files and folders; HAVE is how many bytes of the first file it says that it has.
It is no program to use: nothing here takes the same time whatever the secret is, and names are not judged.
"""

import hashlib
import hmac
import os
import re
import secrets
import socket
import struct
import sys

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

UPLOAD, DOWNLOAD = "upload", "download"
OTHER = {UPLOAD: DOWNLOAD, DOWNLOAD: UPLOAD}
EARLY = 65536


class Failure(Exception):
    pass


# Section S1 ---------------------------------------------------------------------------------------------------------


def server_key(key):
    return hashlib.sha256(b"xchg v1 server key\0" + key).digest()


# Section S2: Ed25519 (RFC 8032 section 5.1), in affine coordinates ------------------------------------------------

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
NEUTRAL = (0, 1)


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def times(scalar, point):
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def negative(point):
    return -point[0] % P, point[1]


def encode(point):
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point of order q that `data` is the one encoding of (rule S6)."""
    number = int.from_bytes(data, "little")
    y, sign = number % 2**255, number >> 255
    if y >= P:
        raise Failure("a point in another encoding than its own")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        raise Failure("no point")
    if x & 1 != sign:
        x = P - x
    point = x, y
    if point == NEUTRAL or times(Q, point) != NEUTRAL:
        raise Failure("a point of another order")
    return point


B = decode(bytes([0x58]) + bytes([0x66]) * 31)
M = decode(bytes.fromhex("15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312"))
N = decode(bytes.fromhex("f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3"))


def extract(salt, data):
    return hmac.digest(salt, data, "sha256")


def expand(key, info, length=32):
    result, block = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        result += block
    return result[:length]


class Handshake:
    def __init__(self, side, key, secret, scalar=None):
        self.side, self.key, self.secret = side, key, secret
        self.scalar = scalar or 1 + secrets.randbelow(Q - 1)
        # HKDF's empty salt is as good as one of zeros (RFC 5869 section 2.2), and so it is with HMAC.
        self.password = int.from_bytes(expand(extract(b"", secret), b"SPAKE2 pw", 48), "big") % Q
        blind = M if side == UPLOAD else N
        self.message = encode(add(times(self.scalar, B), times(self.password, blind)))
        letter = b"A" if side == UPLOAD else b"B"
        body = letter + self.message + struct.pack(">HHB", 1, 1, 2)
        self.hello = struct.pack(">BH", 2, len(body)) + body

    def finish(self, theirs):
        """What both agree upon, from the other peer's hello."""
        body, message = theirs[3:], theirs[4:36]
        if body[:1] != (b"B" if self.side == UPLOAD else b"A"):
            raise Failure("a hello of our own side")
        versions, at = None, 33
        while at < len(body):
            kind, length = struct.unpack_from(">HH", body, at)
            value = body[at + 4 : at + 4 + length]
            if len(value) != length:
                raise Failure("an extension beyond the hello")
            if kind == 1:
                versions = value
            at += 4 + length
        if versions is None or 2 not in versions:
            raise Failure("no version in common")
        blind = N if self.side == UPLOAD else M
        unblinded = add(decode(message), negative(times(self.password, blind)))
        common = encode(times(self.scalar, unblinded))
        mine_first = self.side == UPLOAD
        x, y = (self.message, message) if mine_first else (message, self.message)
        hello_a, hello_b = (self.hello, theirs) if mine_first else (theirs, self.hello)
        sha256 = lambda data: hashlib.sha256(data).digest()
        self.shared = sha256(
            sha256(self.secret)
            + sha256(b"xchg v2 upload\0" + self.key)
            + sha256(b"xchg v2 download\0" + self.key)
            + x + y + common
        )
        return Schedule(sha256(hello_a + hello_b), self.shared)


# Section S3 ---------------------------------------------------------------------------------------------------------


class Schedule:
    def __init__(self, transcript, shared):
        self.transcript = transcript
        self.prk = extract(transcript, shared)

    def confirmation(self, side):
        key = expand(self.prk, b"xchg v2 %s confirm" % side.encode())
        return hmac.digest(key, self.transcript, "sha256")

    def traffic(self, side):
        return expand(self.prk, b"xchg v2 %s traffic" % side.encode())


# Section S4 ---------------------------------------------------------------------------------------------------------


class Records:
    """One direction."""

    def __init__(self, traffic):
        self.traffic, self.number = traffic, 0

    def step(self):
        if self.number and self.number % 65536 == 0:
            self.traffic = expand(self.traffic, b"xchg v2 next")
        nonce = self.number.to_bytes(12, "big")
        self.number += 1
        return AESGCM(expand(self.traffic, b"xchg v2 key")), nonce

    def seal(self, plaintext, last=False):
        header = struct.pack(">I", int(last) << 24 | len(plaintext))
        key, nonce = self.step()
        return header + key.encrypt(nonce, plaintext, header)

    def open(self, header, ciphertext):
        key, nonce = self.step()
        return key.decrypt(nonce, ciphertext, header)


# Section S5 ---------------------------------------------------------------------------------------------------------

OFFER, ENTRIES, BEGIN, DATA, END, PROOF = range(1, 7)
HAVE, ACCEPT, DECLINE, RECEIPT, PROGRESS, PROVE, RESUME = range(0x11, 0x18)
ALIVE, ERROR = 0x21, 0x22


def message(kind, body=b""):
    return struct.pack(">I", kind << 24 | len(body)) + body


# Section 1 ----------------------------------------------------------------------------------------------------------


def read(stream, length):
    data = b""
    while len(data) < length:
        piece = stream.recv(length - len(data))
        if not piece:
            raise Failure("the stream has ended")
        data += piece
    return data


def meet(host, port, side, key):
    """Waits for the counterpart in realm sealed, without telling the server the key."""
    stream = socket.create_connection((host, int(port)), 10)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.settimeout(60)
    name = server_key(key)
    body = struct.pack(">BqB", 1, -1, len(name)) + name
    command = 1 if side == UPLOAD else 2
    stream.sendall(b"xchg" + struct.pack(">BBH", 1, command, len(body)) + body)
    while True:
        kind, length = struct.unpack(">BH", read(stream, 3))
        body = read(stream, length)
        if kind == 3:
            stream.settimeout(30)
            return stream
        if kind == 4:
            raise Failure("refused: " + body[2:].decode())


class Session:
    def __init__(self, stream, side, key, secret):
        self.stream, self.side = stream, side
        handshake = Handshake(side, key, secret)
        stream.sendall(handshake.hello)
        header = read(stream, 3)
        form, length = struct.unpack(">BH", header)
        if form != 2 or not 33 <= length <= 1024:
            raise Failure("a hello of another form")
        self.schedule = handshake.finish(header + read(stream, length))
        self.sending = Records(self.schedule.traffic(side))
        self.receiving = Records(self.schedule.traffic(OTHER[side]))
        self.messages, self.ended = [], False
        stream.sendall(self.schedule.confirmation(side))

    def await_confirmation(self):
        expected = self.schedule.confirmation(OTHER[self.side])
        if not hmac.compare_digest(read(self.stream, 32), expected):
            if self.side == DOWNLOAD:
                self.drop_the_rest()
            raise Failure("the secrets differ")

    def drop_the_rest(self):
        """Rule S35: a reset for unread bytes could overtake our confirmation."""
        self.stream.settimeout(2)
        try:
            while self.stream.recv(65536):
                pass
        except OSError:
            pass

    def say(self, *messages, last=False):
        self.stream.sendall(self.sending.seal(b"".join(messages), last))

    def hear(self):
        """The next message that means something to a program: type and body; none after the last."""
        while True:
            while self.messages:
                kind, body = self.messages.pop(0)
                if kind == ERROR:
                    raise Failure("the other peer failed: " + body[1:].decode())
                if kind not in (ALIVE, PROGRESS):
                    return kind, body
            if self.ended:
                return None, b""
            header = read(self.stream, 4)
            word = struct.unpack(">I", header)[0]
            self.ended = bool(word >> 24)
            plaintext = self.receiving.open(header, read(self.stream, (word & 0xFFFFFF) + 16))
            while plaintext:
                word = struct.unpack(">I", plaintext[:4])[0]
                end = 4 + (word & 0xFFFFFF)
                self.messages.append((word >> 24, plaintext[4:end]))
                plaintext = plaintext[end:]

    def expect(self, expected):
        kind, body = self.hear()
        if kind == DECLINE:
            raise Failure("declined: " + body.decode())
        if kind != expected:
            raise Failure("message %r instead of %r" % (kind, expected))
        return body

    def close(self):
        self.stream.shutdown(socket.SHUT_WR)
        self.stream.close()


# Section S7 ---------------------------------------------------------------------------------------------------------


def content(data, offset):
    """The messages of a file's content from `offset` on, of entry 0."""
    yield message(BEGIN, struct.pack(">IQ", 0, offset))
    for at in range(offset, len(data), 100000):
        yield message(DATA, data[at : at + 100000])
    yield message(END, struct.pack(">Q", len(data)) + blake3(data).digest())


def upload(host, port, key, secret, path):
    data, stat = open(path, "rb").read(), os.stat(path)
    name = os.path.basename(path).encode()
    seconds, nanos = divmod(stat.st_mtime_ns, 10**9)
    entry = struct.pack(">BBHqIB", 0, 0, stat.st_mode & 0o7777, seconds, nanos, len(name)) + name
    entry += struct.pack(">Q", len(data))
    session = Session(meet(host, port, UPLOAD, key), UPLOAD, key, secret)
    offer = [message(OFFER, struct.pack(">IQI", 1, len(data), len(entry))), message(ENTRIES, entry)]
    is_early = len(data) <= EARLY
    session.say(*offer, *(content(data, 0) if is_early else ()))
    session.await_confirmation()

    kind, body = session.hear()
    had, points = 0, b""
    if kind == HAVE:
        while kind == HAVE:
            points += body
            kind, body = session.hear()
        if kind != PROVE:
            raise Failure("no end of what it has")
        entry, had = struct.unpack(">IQ", points)
        session.say(message(PROOF, struct.pack(">I", entry) + blake3(data[:had]).digest()))
        kind, body = session.hear()
        if kind == RESUME:
            kind, body = session.hear()
        else:
            had = 0
    if kind == DECLINE:
        raise Failure("declined: " + body.decode())
    if kind != ACCEPT:
        raise Failure("no answer to the offer")
    if not is_early or points:
        for part in content(data, had):
            session.say(part)
    session.say(last=True)
    if session.expect(RECEIPT) != struct.pack(">IQ", 1, len(data)) or session.hear()[0]:
        raise Failure("a receipt for something else")
    session.close()
    print("moved", len(data) - had)


def entries(data):
    at = 0
    while at < len(data):
        kind, depth, mode, seconds, nanos, length = struct.unpack_from(">BBHqIB", data, at)
        at += 17
        name = data[at : at + length].decode()
        at += length
        size = None
        if kind in (0, 3):
            (size,) = struct.unpack_from(">Q", data, at)
            at += 8
        if kind == 2:
            (length,) = struct.unpack_from(">H", data, at)
            at += 2 + length
        yield kind, depth, name, size


def download(host, port, key, secret, folder, had=None):
    session = Session(meet(host, port, DOWNLOAD, key), DOWNLOAD, key, secret)
    session.await_confirmation()
    count, total, encoded_bytes = struct.unpack(">IQI", session.expect(OFFER))
    encoded = b""
    while len(encoded) < encoded_bytes:
        encoded += session.expect(ENTRIES)
    offered, path = [], []
    for kind, depth, name, size in entries(encoded):
        path = path[:depth] + [name]
        offered.append((kind, os.path.join(folder, *path), size))
    if len(offered) != count or sum(size or 0 for _, _, size in offered) != total:
        raise Failure("an offer that does not add up")

    first = next(number for number, (kind, _, _) in enumerate(offered) if kind not in (1, 2))
    has_first = had is not None
    if has_first:
        had = int(had)
        start = open(offered[first][1], "rb").read()[:had]
        session.say(message(HAVE, struct.pack(">IQ", first, had)), message(PROVE))
        kind = None
        while kind != PROOF:
            kind, body = session.hear()
            if kind not in (BEGIN, DATA, END, PROOF):
                raise Failure("no proof")
        has_first = body == struct.pack(">I", first) + blake3(start).digest()
        if has_first:
            session.say(message(RESUME, struct.pack(">I", first)))
    session.say(message(ACCEPT))

    moved = received = 0
    for number, (kind, path, size) in enumerate(offered):
        if kind == 1:
            os.makedirs(path, exist_ok=True)
        if kind in (1, 2):
            continue
        begin = session.expect(BEGIN)
        if begin != struct.pack(">IQ", number, had if has_first and number == first else 0):
            raise Failure("another begin")
        data = start if has_first and number == first else b""
        kind, body = session.hear()
        while kind == DATA:
            data += body
            moved += len(body)
            kind, body = session.hear()
        end = struct.pack(">Q", len(data)) + blake3(data).digest()
        if kind != END or body != end or size not in (None, len(data)):
            raise Failure("another end")
        received += len(data)
        with open(path, "wb") as file:
            file.write(data)
    session.say(message(RECEIPT, struct.pack(">IQ", count, received)), last=True)
    while session.hear()[0]:
        pass
    session.close()
    print("moved", moved)


# Section S10 --------------------------------------------------------------------------------------------------------


def vectors(path):
    text = open(path, encoding="utf-8").read().split("### S10.")[1]
    known = dict(re.findall(r"^    (.*) = ([0-9a-f]+)(?: <.*)?$", text, re.M))
    trace = lambda name: bytes.fromhex(known["trace " + name])

    def check(name, data):
        if known[name] != data.hex():
            raise Failure("%s is %s" % (name, data.hex()))

    check('server key of "holiday"', server_key(b"holiday"))
    peers = {
        side: Handshake(side, b"holiday", b"swordfish", int.from_bytes(trace(letter), "big"))
        for side, letter in [(UPLOAD, "x"), (DOWNLOAD, "y")]
    }
    for side, peer in peers.items():
        check("trace %s hello" % side, peer.hello)
    for side, peer in peers.items():
        schedule = peer.finish(peers[OTHER[side]].hello)
        check("trace shared", peer.shared)
        for other in peers:
            check("trace %s confirmation" % other, schedule.confirmation(other))
            check("trace %s traffic 0" % other, schedule.traffic(other))
    upload, download = (Records(schedule.traffic(side)) for side in peers)
    check("trace upload record 0", upload.seal(trace("upload plaintext 0")))
    check("trace upload record 1", upload.seal(b"", last=True))
    check("trace download record 0", download.seal(message(ACCEPT)))
    receipt = message(RECEIPT, struct.pack(">IQ", 1, 6))
    check("trace download record 1", download.seal(receipt, last=True))
    records = Records(Schedule(
        hashlib.sha256(bytes.fromhex(known["upload hello"] + known["download hello"])).digest(),
        bytes.fromhex(known["shared"]),
    ).traffic(UPLOAD))
    for number in range(65537):
        record = records.seal(message(ALIVE))
        if number in (0, 1, 65535, 65536):
            check("record %d" % number, record)
    check("record 65537", records.seal(b"", last=True))


def main(command, *arguments):
    if command == "vectors":
        return vectors(*arguments)
    host, port, key, secret, *rest = arguments
    {UPLOAD: upload, DOWNLOAD: download}[command](host, port, key.encode(), secret.encode(), *rest)


try:
    main(*sys.argv[1:])
except Failure as failure:
    sys.exit("outsider: %s" % failure)
